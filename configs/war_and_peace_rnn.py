"""War and Peace by an Elman network, as large as the LSTM of `war_and_peace`.

    jaxlm train war_and_peace_rnn --set data.source=warpeace_input.txt

Two layers of 488 tanh units (Elman 1990); the rate is lower, as its gradients have no gate to hold them.
"""

from jaxlm.run_config import RunConfig, load_config


def config() -> RunConfig:
    return load_config(
        "war_and_peace",
        "name=war_and_peace_rnn",
        "model.cell=tanh",
        "model.width=488",
        "optimizer.peak_rate=1e-3",
    )
