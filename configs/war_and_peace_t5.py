"""War and Peace by an encoder-decoder like T5, as large as the LSTM of `war_and_peace`.

    jaxlm train war_and_peace_t5 --set data.source=warpeace_input.txt

Two blocks that read and two that write, width 128: the second half of each row from its first, so its nats are those of
a character after 128 to 255 others (Raffel et al. 2020, arXiv:1910.10683).
"""

from jaxlm.run_config import RunConfig, load_config


def config() -> RunConfig:
    return load_config(
        "war_and_peace",
        "name=war_and_peace_t5",
        "data.rows=chunked",
        "data.length=256",
        "data.batch=16",
        "data.objective.kind=prefix",
        "data.objective.share=0.5",
        "data.objective.source=true",
        "model.kind=encoder_decoder",
        "model.layers=2",
        "model.decoder_layers=2",
        "model.heads=4",
        "model.width=128",
        "model.activation=geglu",
        "model.tied=false",
        "model.dropout=0.1",
        "optimizer.peak_rate=2e-3",
        "optimizer.decay=0.1",
    )
