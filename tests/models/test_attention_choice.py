"""The choice of a backend, without the hardware."""

import pytest

from jaxlm.errors import UserError
from jaxlm.models.attention_choice import Case, Choice, choose

GPU = Case("gpu", "bfloat16", head_width=64, length=1024, memory=1024, cudnn=True)
TPU = GPU._replace(platform="tpu", cudnn=False)


@pytest.mark.parametrize(
    "case, name, reason",
    [
        (GPU._replace(platform="cpu", cudnn=False), "einsum", ""),
        (GPU, "cudnn", ""),
        (GPU._replace(window=128), "cudnn", ""),
        (GPU._replace(length=1000, memory=1000), "cudnn", ""),
        (GPU._replace(cached=True, length=7), "einsum", ""),
        (GPU._replace(length=1, memory=1), "einsum", ""),
        (GPU._replace(cudnn=False), "triton", "not cudnn, because there is no NVIDIA GPU"),
        (GPU._replace(cudnn=False, window=128), "einsum", "not triton, because it has no window"),
        (GPU._replace(head_width=100), "triton", "multiple of 8 and at most 128 wide, and they are 100 wide"),
        (GPU._replace(head_width=256), "einsum", "at most 128 wide, and they are 256 wide"),
        (GPU._replace(precision="float32"), "einsum", "model.precision is 'float32'"),
        (GPU._replace(causal=False, window=8), "einsum", "its window looks back only"),
        (GPU._replace(length=1023, memory=1023), "einsum", "even length, and it is 1023"),
        (GPU._replace(memory=512), "einsum", "as many keys as queries, and there are 512 and 1024"),
        (GPU._replace(bias=True), "einsum", "it adds nothing to scores"),
        (GPU._replace(prefix=True), "einsum", "it knows no prefix"),
        (GPU._replace(crossed=True), "cudnn", ""),
        (GPU._replace(crossed=True, cudnn=False), "einsum", "not triton, because it has one array of segments"),
        (TPU._replace(bias=True), "einsum", "not splash, because it adds nothing to scores"),
        (TPU, "splash", ""),
        (TPU._replace(window=128, head_width=256), "splash", ""),
        (TPU._replace(cached=True), "einsum", ""),
        (TPU._replace(length=1000, memory=1000), "einsum", "blocks of 128 positions, and a row has 1000"),
        (TPU._replace(precision="float32"), "einsum", "model.precision is 'float32'"),
    ],
)
def test_the_platforms_kernel_is_chosen_where_it_can_run_and_the_reason_is_given_where_not(case, name, reason):
    choice = choose(case)
    assert choice.name == name
    assert reason in choice.reason
    assert bool(choice.reason) == bool(reason)


@pytest.mark.parametrize(
    "wanted, case, reason",
    [
        ("cudnn", GPU._replace(platform="cpu"), "it runs on a GPU, and the platform is 'cpu'"),
        ("splash", GPU, "it runs on a TPU, and the platform is 'gpu'"),
        ("triton", GPU._replace(length=1000, memory=1000), "a row has 1000"),
        ("cudnn", GPU._replace(precision="float32"), "model.precision is 'float32'"),
    ],
)
def test_a_backend_asked_for_that_cannot_run_is_the_users_mistake(wanted, case, reason):
    with pytest.raises(UserError) as error:
        choose(case, wanted)
    assert f"model.attention={wanted!r}" in str(error.value)
    assert reason in str(error.value)


def test_a_backend_asked_for_is_taken_where_it_can_run():
    assert choose(GPU, "triton") == Choice("triton")
    assert choose(GPU, "einsum") == Choice("einsum")
    assert choose(GPU._replace(cached=True), "cudnn") == Choice("einsum")  # decoding: nothing else has positions
