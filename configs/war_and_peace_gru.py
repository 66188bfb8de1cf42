"""War and Peace by a GRU, as large as the LSTM of `war_and_peace`.

    jaxlm train war_and_peace_gru --set data.source=warpeace_input.txt

Two layers of 288 units (Cho et al. 2014, arXiv:1406.1078).
"""

from jaxlm.run_config import RunConfig, load_config


def config() -> RunConfig:
    return load_config(
        "war_and_peace",
        "name=war_and_peace_gru",
        "model.cell=gru",
        "model.width=288",
    )
