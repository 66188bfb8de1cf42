"""The choice of a layout: who is asked, who wins, and a layout.json that is not ours."""

import json

import pytest

from jaxlm.errors import JaxlmError, UserError
from jaxlm.mesh import MeshConfig
from jaxlm.training import layout as layouts
from jaxlm.training.layout import Layout


def kinds(found):
    return [(layout.mesh.layout, layout.devices, layout.compile) for layout in found]


# --- candidates and what is told


def test_one_device_for_each_core_is_tried_replicated_and_sharded_beside_one_for_all():
    assert kinds(layouts.candidates(MeshConfig(), "auto", cores=4, batch=8)) == [
        ("replicated", 4, "shard_map"),
        ("single", 1, "jit"),
        ("sharded", 4, "jit"),
    ]


def test_a_batch_that_does_not_divide_over_the_cores_leaves_one_device(caplog):
    caplog.set_level("INFO", "jaxlm")
    assert kinds(layouts.candidates(MeshConfig(), "auto", cores=4, batch=6)) == [("single", 1, "jit")]
    assert "data.batch=6 does not divide over 4 devices" in caplog.text


def test_devices_that_were_asked_for_are_not_left_out():
    with pytest.raises(UserError, match=r"data\.batch=8 does not divide over mesh\.devices=3: make it 9, or use fewer"):
        layouts.candidates(MeshConfig(devices=3), "auto", cores=4, batch=8)


def test_one_core_leaves_nothing_to_choose():
    assert kinds(layouts.candidates(MeshConfig(), "auto", cores=1, batch=8)) == [("single", 1, "jit")]


def test_mesh_devices_limits_the_candidates():
    found = layouts.candidates(MeshConfig(devices=2), "auto", cores=4, batch=8)
    assert [devices for _, devices, _ in kinds(found)] == [2, 1, 2]


@pytest.mark.parametrize("way", ["shard_map", "pmap"])
def test_ways_that_replicate_the_state_have_no_sharded_candidate(way):
    found = kinds(layouts.candidates(MeshConfig(), way, cores=2, batch=8))
    assert ("sharded", 2, way) not in found and len(found) == 2


def test_a_single_device_runs_under_every_way_it_is_a_candidate_of():
    """shard_map and pmap over one device are what they are over several."""
    for way in ("jit", "shard_map", "pmap"):
        assert ("single", 1, way) in kinds(layouts.candidates(MeshConfig(), way, cores=2, batch=8))


@pytest.mark.parametrize(
    "cfg, cores, devices, way",
    [
        (MeshConfig(layout="single"), 4, 1, "jit"),
        (MeshConfig(layout="replicated"), 4, 4, "shard_map"),
        (MeshConfig(layout="replicated", devices=2), 4, 2, "shard_map"),
        (MeshConfig(layout="sharded"), 4, 4, "jit"),
        (MeshConfig(layout="axes", fsdp=2, tensor=3), 4, 6, "jit"),
        (MeshConfig(layout="replicated"), None, None, "jit"),
        (MeshConfig(layout="auto"), None, None, "jit"),
    ],
    ids=str,
)
def test_what_the_config_says_is_obeyed(cfg, cores, devices, way):
    told = layouts.told(cfg, "auto", cores)
    assert (told.mesh, told.devices, told.compile) == (cfg, devices, way)
    assert layouts.told(cfg, "pmap", cores).compile == "pmap"


# --- the choice


def choose(monkeypatch, times):
    asked = []

    def measure(config, layout, vocab):
        asked.append((config, layout.mesh.layout, vocab))
        return times[layout.mesh.layout]

    monkeypatch.setattr(layouts, "measure_in_child", measure)
    found = layouts.candidates(MeshConfig(), "auto", cores=2, batch=8)
    return layouts.choose({"any": "config"}, found, 65), asked


def test_the_fastest_wins_and_says_against_whom(monkeypatch):
    chosen, asked = choose(monkeypatch, {"replicated": 30.0, "single": 20.0, "sharded": 40.0})
    assert (chosen.mesh.layout, chosen.devices, chosen.compile) == ("single", 1, "jit")
    assert chosen.measured == {"replicated": 30.0, "single": 20.0, "sharded": 40.0}
    for words in ("single (20.0 ms a step)", "replicated (30.0 ms", "sharded (40.0 ms"):
        assert words in chosen.why
    assert asked == [({"any": "config"}, kind, 65) for kind in ("replicated", "single", "sharded")]


def test_one_slow_turn_does_not_decide_between_close_candidates(monkeypatch):
    turns = {"replicated": [24.6, 18.5], "single": [20.6, 20.5], "sharded": [30.1]}  # sharded has no second turn
    monkeypatch.setattr(layouts, "measure_in_child", lambda config, layout, vocab: turns[layout.mesh.layout].pop(0))
    layout = layouts.choose({}, layouts.candidates(MeshConfig(), "auto", 2, 8), 10)
    assert layout.mesh.layout == "replicated"
    assert layout.measured == {"replicated": 18.5, "single": 20.5, "sharded": 30.1}


def test_a_candidate_that_fails_is_recorded_and_does_not_win(monkeypatch):
    chosen, _ = choose(monkeypatch, {"replicated": "out of memory", "single": 20.0, "sharded": "over 120 s"})
    assert chosen.mesh.layout == "single"
    assert chosen.measured["replicated"] == "out of memory" and "out of memory" in chosen.why


def test_when_none_can_run_the_reasons_are_told(monkeypatch):
    with pytest.raises(JaxlmError, match=r"no layout could run a step.*out of memory"):
        choose(monkeypatch, dict.fromkeys(("replicated", "single", "sharded"), "out of memory"))


def test_what_every_layout_refuses_is_the_users_mistake(monkeypatch):
    def refuse(*_):
        raise UserError("model.vocab=3 is under the tokenizer's 65")

    monkeypatch.setattr(layouts, "measure_in_child", refuse)
    with pytest.raises(UserError, match=r"^model\.vocab=3 is under"):
        layouts.choose({}, layouts.candidates(MeshConfig(), "auto", cores=2, batch=8), 65)


def test_a_child_that_refuses_the_config_is_believed(monkeypatch, tmp_path):
    child_is(monkeypatch, tmp_path, "echo model.vocab=3 is under 65 >&2; exit 2")
    with pytest.raises(UserError, match=r"^model\.vocab=3 is under 65$"):
        layouts.measure_in_child({}, layouts.told(MeshConfig(layout="single"), "auto", 1), 65)


def test_a_single_candidate_is_not_measured(monkeypatch):
    monkeypatch.setattr(layouts, "measure_in_child", lambda *_: pytest.fail("measured"))
    only = layouts.candidates(MeshConfig(), "auto", cores=1, batch=8)
    assert layouts.choose({}, only, 65) == only[0]._replace(why="the only candidate")


def child_is(monkeypatch, folder, script):
    """Let the shell's `script` answer in place of Python."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setattr(layouts.sys, "executable", str(path))


def test_the_answer_of_a_child_is_its_last_line(monkeypatch, tmp_path):
    child_is(monkeypatch, tmp_path, "echo noise; echo '{\"step_ms\": 2.5}'")
    only = layouts.told(MeshConfig(layout="single"), "auto", 1)
    assert layouts.measure_in_child({}, only, 65) == 2.5


def test_a_child_that_dies_is_its_last_line(monkeypatch, tmp_path):
    child_is(monkeypatch, tmp_path, "echo first >&2; echo RuntimeError: the last line >&2; exit 3")
    only = layouts.told(MeshConfig(layout="single"), "auto", 1)
    assert layouts.measure_in_child({}, only, 65) == "RuntimeError: the last line"


def test_a_child_that_hangs_is_given_up(monkeypatch, tmp_path):
    child_is(monkeypatch, tmp_path, "exec sleep 60")
    monkeypatch.setattr(layouts, "TIMEOUT", 0.2)
    only = layouts.told(MeshConfig(layout="single"), "auto", 1)
    assert layouts.measure_in_child({}, only, 65) == "over 0.2 s"


# --- layout.json


def test_a_layout_survives_its_file():
    layout = layouts.told(MeshConfig(layout="axes", fsdp=2, tensor=2), "auto", 4)._replace(
        measured={"single": 2.5, "sharded": "out of memory"}
    )
    assert Layout.parse(json.loads(json.dumps(layout.dump()))) == layout


GOOD = layouts.told(MeshConfig(layout="single"), "auto", 1).dump()


@pytest.mark.parametrize(
    "saved",
    [
        {},
        {**GOOD, "mesh": {"layout": "circular"}},
        {**GOOD, "colour": "red"},
        {name: value for name, value in GOOD.items() if name != "compile"},
        {**GOOD, "compile": "magic"},
        {**GOOD, "devices": "two"},
        {**GOOD, "devices": 0},
        [],
        None,
    ],
    ids=str,
)
def test_a_layout_file_that_is_not_ours_is_refused_with_the_mend(saved):
    with pytest.raises(UserError, match=r"layout\.json.*remove it to choose anew"):
        Layout.parse(saved)


def test_what_tells_of_a_mesh_refuses_a_strict_step():
    layouts.refuse_strict("fast", "a plan")
    with pytest.raises(UserError, match="a plan knows nothing: ask about --set"):
        layouts.refuse_strict("strict", "a plan")


@pytest.mark.parametrize(
    ("fields", "cores", "found"),
    [
        ({"layout": "auto"}, 6, ("replicated", 4, 4)),  # the most of 6 that 8 parts divide over
        ({"layout": "auto"}, 1, ("single", None, 1)),
        ({"layout": "replicated", "devices": 2}, 8, ("replicated", 2, 2)),
        ({"layout": "single"}, 8, ("single", None, 1)),
        ({"layout": "replicated"}, None, ("replicated", None, None)),
    ],
)
def test_a_strict_step_copies_its_state_to_as_many_devices_as_parts_divide_over(fields, cores, found):
    layout = layouts.strict(MeshConfig(**fields), 8, cores)
    assert layout.compile == "strict"
    assert (layout.mesh.layout, layout.mesh.devices, layout.devices) == found


def test_devices_are_those_of_all_processes_and_each_has_its_share():
    told = layouts.told(MeshConfig(layout="replicated", devices=8), "auto", 8)
    assert layouts.among(told, 4)[1:2] == (2,) and layouts.among(told, 4).processes == 4
    with pytest.raises(UserError, match="8 devices does not divide over 3 processes: use 9"):
        layouts.among(told, 3)
