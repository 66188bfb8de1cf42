"""War and Peace by a decoder like GPT-2, as large as the LSTM of `war_and_peace`.

    jaxlm train war_and_peace_gpt2 --set data.source=warpeace_input.txt

Five blocks of width 128, learned positions, LayerNorm, GELU, biases (Radford et al. 2019). Rows are 256 characters from
anywhere in the text, as nothing is carried from one to the next; a step reads as many.
"""

from jaxlm.run_config import RunConfig, load_config


def config() -> RunConfig:
    return load_config(
        "war_and_peace",
        "name=war_and_peace_gpt2",
        "data.rows=chunked",
        "data.length=256",
        "data.batch=16",
        "model.kind=decoder",
        "model.layers=5",
        "model.heads=4",
        "model.width=128",
        "model.bias=true",
        "model.dropout=0.1",
        "optimizer.peak_rate=2e-3",
        "optimizer.decay=0.1",
    )
