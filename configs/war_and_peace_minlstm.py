"""War and Peace by a minLSTM, as large as the LSTM of `war_and_peace`.

    jaxlm train war_and_peace_minlstm --set data.source=warpeace_input.txt

Four layers of 288 units, read by a parallel scan (Feng et al. 2024, arXiv:2410.01201).
"""

from jaxlm.run_config import RunConfig, load_config


def config() -> RunConfig:
    return load_config(
        "war_and_peace",
        "name=war_and_peace_minlstm",
        "model.cell=minlstm",
        "model.layers=4",
        "model.width=288",
    )
