"""A layout measured in a child process: an answer for what can run, a reason for what cannot."""

import pytest

from jaxlm import parts
from jaxlm.config import dump
from jaxlm.errors import UserError
from jaxlm.measure import median_step_ms
from jaxlm.mesh import MeshConfig
from jaxlm.training import layout as layouts
from tests import tiny_run


@pytest.fixture
def cfg(tmp_path):
    return tiny_run.config(tmp_path / "no_text_is_read.txt", "model.layers=1", "model.width=8", "model.ff_width=8")


def test_a_child_measures_a_layout_on_devices_of_its_own(cfg, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tiny_run.ROOT))
    layout = layouts.told(MeshConfig(layout="replicated", devices=3), "auto", cores=3)
    found = layouts.measure_in_child(dump(cfg.model_copy(update={"data": thrice(cfg)})), layout, 257)
    assert isinstance(found, float) and found > 0
    assert not any(tmp_path.iterdir()), "and leaves nothing behind"


def thrice(cfg):
    return cfg.data.model_copy(update={"batch": 6})


def test_a_child_that_may_not_run_says_why_as_the_users_mistake(cfg, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tiny_run.ROOT))
    layout = layouts.told(MeshConfig(layout="replicated", devices=3), "auto", cores=3)
    with pytest.raises(UserError, match=r"^data\.batch=4 does not divide over 3 devices.*$"):
        layouts.measure_in_child(dump(cfg), layout, 257)


def test_the_median_leaves_the_first_steps_out(cfg, monkeypatch):
    from jaxlm import measure

    layout = layouts.told(MeshConfig(layout="single"), "auto", cores=1)
    calls = []
    built = parts.build(cfg, layout, 257)
    step = built.compiled.step

    def slow_at_first(state, batch):
        calls.append(1)
        clock[0] += 100.0 if len(calls) <= 2 else 0.5
        return step(state, batch)

    clock = [0.0]
    monkeypatch.setattr(measure.time, "perf_counter", lambda: clock[0])
    built = built._replace(compiled=built.compiled._replace(step=slow_at_first))
    assert median_step_ms(built, cfg) == 500.0
    assert len(calls) == 5, "time was up before; but five steps are the least"
