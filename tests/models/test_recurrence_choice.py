"""The choice of a recurrence's backend, without the hardware."""

import logging

import pytest

from jaxlm.errors import UserError
from jaxlm.models import recurrence_choice
from jaxlm.models.build import build
from jaxlm.models.recurrence_choice import Case, Choice, choose
from jaxlm.models.recurrent import RecurrentConfig

GPU = Case("gpu", "lstm", "bfloat16", packed=False, cudnn=True)
REFUSALS = [
    (GPU._replace(platform="cpu"), "it runs on a GPU, and the platform is 'cpu'"),
    (GPU._replace(platform="tpu"), "it runs on a GPU, and the platform is 'tpu'"),
    (GPU._replace(cudnn=False), "there is no NVIDIA GPU with cuDNN here"),
    (GPU._replace(cell="gru"), "jax offers its LSTM alone, and model.cell='gru'"),
    (GPU._replace(projection=6), "model.projection=6"),
    (GPU._replace(packed=True), "only data.rows='chunked' never asks for that"),
    (GPU._replace(precision="bfloat16_operands"), "model.precision='bfloat16_operands'"),
]


@pytest.mark.parametrize("case", [GPU, GPU._replace(precision="float32")], ids=str)
def test_cudnn_runs_where_it_can_and_is_asked_for(case):
    assert choose(case, "cudnn") == Choice("cudnn")
    assert choose(case, "scan") == Choice("scan")
    assert choose(case).name == "scan" and "model.backend='cudnn' may be faster" in choose(case).reason


@pytest.mark.parametrize("case, reason", REFUSALS, ids=str)
def test_a_backend_asked_for_that_cannot_run_is_the_users_mistake(case, reason):
    with pytest.raises(UserError) as error:
        choose(case, "cudnn")
    assert "model.backend='cudnn'" in str(error.value) and reason in str(error.value)


@pytest.mark.parametrize("case, reason", REFUSALS, ids=str)
def test_else_it_is_the_scan_and_there_is_nothing_to_tell(case, reason):
    assert choose(case) == Choice("scan")


def test_the_reason_is_logged_once(caplog):
    recurrence_choice.announce.cache_clear()
    choice = choose(GPU)
    with caplog.at_level(logging.DEBUG, "jaxlm"):
        recurrence_choice.announce(choice)
        recurrence_choice.announce(choice)
        recurrence_choice.announce(Choice("cudnn"))
    assert [(r.levelname, r.message[:24]) for r in caplog.records] == [
        ("INFO", "recurrence by scan: mode"),
        ("DEBUG", "recurrence by cudnn"),
    ]


def test_a_model_that_cannot_have_its_backend_is_not_built():
    with pytest.raises(UserError, match="the platform is 'cpu'"):
        build(RecurrentConfig(width=4, backend="cudnn"), vocab=5, length=4, packed=False, platform="cpu")
