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
@pytest.mark.parametrize("wanted", ["auto", "cudnn"])
def test_cudnn_is_chosen_where_it_can_run(case, wanted):
    assert choose(case, wanted) == Choice("cudnn")
    assert choose(case, "scan") == Choice("scan")


@pytest.mark.parametrize("case, reason", REFUSALS, ids=str)
def test_a_backend_asked_for_that_cannot_run_is_the_users_mistake(case, reason):
    with pytest.raises(UserError) as error:
        choose(case, "cudnn")
    assert "model.backend='cudnn'" in str(error.value) and reason in str(error.value)


@pytest.mark.parametrize("case, reason", REFUSALS, ids=str)
def test_else_it_is_the_scan_and_the_reason_is_given_where_there_was_a_choice(case, reason):
    choice = choose(case)
    assert choice.name == "scan"
    on_gpu = case.platform == "gpu" and case.cell == "lstm"
    assert bool(choice.reason) == choice.reason.startswith("not cudnn, because ") == on_gpu
    assert (reason in choice.reason) == on_gpu


def test_the_reason_is_logged_once(caplog):
    recurrence_choice.announce.cache_clear()
    choice = choose(GPU._replace(packed=True))
    with caplog.at_level(logging.DEBUG, "jaxlm"):
        recurrence_choice.announce(choice)
        recurrence_choice.announce(choice)
        recurrence_choice.announce(Choice("cudnn"))
    assert [(r.levelname, r.message[:30]) for r in caplog.records] == [
        ("WARNING", "recurrence by scan: not cudnn,"),
        ("DEBUG", "recurrence by cudnn"),
    ]


def test_a_model_that_cannot_have_its_backend_is_not_built():
    with pytest.raises(UserError, match="the platform is 'cpu'"):
        build(RecurrentConfig(width=4, backend="cudnn"), vocab=5, length=4, packed=False, platform="cpu")
