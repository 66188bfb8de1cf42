"""War and Peace by an encoder, as large as the LSTM of `war_and_peace`.

    jaxlm train war_and_peace_bert --set data.source=warpeace_input.txt

Five blocks of width 128; 15 % of the characters are hidden and seen from both sides, so its nats are a hidden
character's (Devlin et al. 2019, arXiv:1810.04805). Rows are 128 characters, as those of 256 take over the table's 20
CPU minutes. Rotary positions, gates and norms before each part are those of ModernBERT (Warner et al. 2024,
arXiv:2412.13663): with BERT's own form, at this rate, 2,000 steps end at 2.79 nats, hardly better than counting
characters, 3.09 (docs/log.md).
"""

from jaxlm.run_config import RunConfig, load_config


def config() -> RunConfig:
    return load_config(
        "war_and_peace",
        "name=war_and_peace_bert",
        "data.rows=chunked",
        "data.length=128",
        "data.batch=32",
        "data.objective.kind=masked",
        "model.kind=encoder",
        "model.layers=5",
        "model.heads=4",
        "model.width=128",
        "model.ff_width=384",
        "model.position=rotary",
        "model.activation=geglu",
        "model.post_norm=false",
        "model.bias=false",
        "model.dropout=0.1",
        "optimizer.peak_rate=2e-3",
        "optimizer.decay=0.1",
    )
