"""War and Peace by a decoder like Llama, as large as the LSTM of `war_and_peace`.

    jaxlm train war_and_peace_llama --set data.source=warpeace_input.txt

Five blocks of width 128, rotary positions, RMSNorm, SwiGLU, no biases (Touvron et al. 2023, arXiv:2302.13971).
"""

from jaxlm.run_config import RunConfig, load_config


def config() -> RunConfig:
    return load_config(
        "war_and_peace",
        "name=war_and_peace_llama",
        "data.rows=chunked",
        "data.length=256",
        "data.batch=16",
        "model.kind=decoder",
        "model.layers=5",
        "model.heads=4",
        "model.width=128",
        "model.position=rotary",
        "model.norm=rmsnorm",
        "model.activation=swiglu",
        "model.dropout=0.1",
        "optimizer.peak_rate=2e-3",
        "optimizer.decay=0.1",
    )
