"""War and Peace by an encoder like BERT, as large as the LSTM of `war_and_peace`.

    jaxlm train war_and_peace_bert --set data.source=warpeace_input.txt

Five blocks of width 128; 15 % of the characters are hidden and seen from both sides, so its nats are a hidden
character's (Devlin et al. 2019, arXiv:1810.04805).
"""

from jaxlm.run_config import RunConfig, load_config


def config() -> RunConfig:
    return load_config(
        "war_and_peace",
        "name=war_and_peace_bert",
        "data.rows=chunked",
        "data.length=256",
        "data.batch=16",
        "data.objective.kind=masked",
        "model.kind=encoder",
        "model.layers=5",
        "model.heads=4",
        "model.width=128",
        "model.dropout=0.1",
        "optimizer.peak_rate=2e-3",
        "optimizer.decay=0.1",
    )
