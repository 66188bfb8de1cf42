"""The run folder: whose it is, who may write in it, and files that are whole or not at all."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from jaxlm import run_folder
from jaxlm.errors import UserError
from jaxlm.run_folder import RunFolder, read_json, record, write_json
from tests.faults.injector import ROOT

CONFIG = {"format_version": 1, "name": "mine", "loop": {"steps": 10}}
OTHER = {"format_version": 1, "name": "mine", "loop": {"steps": 20}}


def claimed(path, config=CONFIG, *, begun=True):
    folder = RunFolder(path)
    folder.claim(config, fresh=False)
    if begun:
        folder.metrics.touch()
    return folder


def test_a_new_folder_holds_the_config(tmp_path):
    assert read_json(claimed(tmp_path / "new" / "deep").config) == CONFIG


def test_the_same_config_is_let_in_again(tmp_path):
    claimed(tmp_path / "run")
    before = (tmp_path / "run" / "config.json").stat().st_mtime_ns
    claimed(tmp_path / "run")
    assert (tmp_path / "run" / "config.json").stat().st_mtime_ns == before


def test_another_config_is_refused_with_the_difference(tmp_path):
    folder = claimed(tmp_path / "run")
    with pytest.raises(UserError, match=r"loop\.steps: 10 -> 20"):
        folder.claim(OTHER, fresh=False)
    assert read_json(folder.config) == CONFIG


@pytest.mark.parametrize("place", [True, False])
def test_where_a_run_computes_may_change_and_what_it_learns_may_not(tmp_path, place):
    old = CONFIG | {"mesh": {"layout": "single"}, "telemetry": {"wandb": None}}
    new = old | ({"mesh": {"layout": "sharded"}} if place else {"telemetry": {"wandb": "thesis"}})
    folder = claimed(tmp_path / "run", old)
    write_json(folder.layout, {"of": "the old mesh"})
    folder.claim(new, fresh=False)
    assert read_json(folder.config) == new
    assert folder.layout.exists() != place
    with pytest.raises(UserError, match=r"loop\.steps"):
        folder.claim(old | {"loop": {"steps": 20}}, fresh=False)
    assert read_json(folder.config) == new


def test_a_field_that_a_later_jaxlm_added_and_nobody_set_changes_nothing(tmp_path):
    folder = claimed(tmp_path / "run")
    folder.claim(CONFIG | {"mixture": None}, fresh=False)
    with pytest.raises(UserError, match=r"mixture: .* -> 3"):
        folder.claim(CONFIG | {"mixture": 3}, fresh=False)


def test_a_run_that_never_began_takes_another_config(tmp_path):
    folder = claimed(tmp_path / "run", begun=False)
    write_json(folder.data, {"shards": "of the old config"})
    write_json(folder.layout, {"of": "the old config"})
    folder.claim(OTHER, fresh=False)
    assert read_json(folder.config) == OTHER
    assert not folder.data.exists() and not folder.layout.exists()


def test_a_run_that_is_about_to_begin_elsewhere_is_left_alone(tmp_path):
    folder = claimed(tmp_path / "run", begun=False)
    with folder.locked(), pytest.raises(UserError, match="another process"):
        RunFolder(folder.path).claim(OTHER, fresh=False)
    assert read_json(folder.config) == CONFIG


def test_a_folder_with_something_else_in_it_is_never_used(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("...")
    for fresh in (False, True):
        with pytest.raises(UserError, match="exists and is no run folder"):
            RunFolder(tmp_path / "thesis").claim(CONFIG, fresh=fresh)
        assert (tmp_path / "thesis" / "chapter1.tex").read_text() == "..."


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "run").write_text("no folder")
    with pytest.raises(UserError, match="exists and is no run folder"):
        RunFolder(tmp_path / "run").claim(CONFIG, fresh=False)


def test_a_file_above_it_is_named(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UserError, match="file' is a file: choose another folder"):
        RunFolder(tmp_path / "file" / "deep" / "run").claim(CONFIG, fresh=False)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="a folder in which nobody can make one")
def test_a_folder_that_cannot_be_made_is_told():
    with pytest.raises(UserError, match=r"'/proc/x/run' cannot be made: .*: choose another folder with --run-dir"):
        RunFolder("/proc/x/run").claim(CONFIG, fresh=False)


def test_fresh_sets_each_old_run_aside_under_a_name_of_its_own(tmp_path):
    for steps in (1, 2, 3):
        folder = RunFolder(tmp_path / "run")
        folder.claim({**CONFIG, "loop": {"steps": steps}}, fresh=True)
        folder.metrics.touch()
    steps = {path.name: read_json(path / "config.json")["loop"]["steps"] for path in tmp_path.iterdir()}
    assert steps == {"run.old1": 1, "run.old2": 2, "run": 3}


def test_fresh_does_not_touch_a_run_that_is_being_trained(tmp_path):
    folder = claimed(tmp_path / "run")
    with folder.locked(), pytest.raises(UserError, match="another process"):
        RunFolder(folder.path).claim(OTHER, fresh=True)
    assert read_json(folder.config) == CONFIG


def test_another_process_is_kept_out_until_the_first_one_ends(tmp_path):
    folder = claimed(tmp_path / "run")
    code = (
        "import sys; from jaxlm.run_folder import RunFolder\n"
        "with RunFolder(sys.argv[1]).locked():\n    print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder.path)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as other:  # fmt: skip
        assert other.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="is being trained by another process"), folder.locked():
            pass
        other.kill()  # the kernel lets go of the lock
        other.wait()
        with folder.locked():
            pass


def test_a_config_file_that_is_cut_is_named(tmp_path):
    folder = claimed(tmp_path / "run")
    folder.config.write_text('{"name": "mi')
    with pytest.raises(UserError, match=r"config\.json is not valid JSON"):
        folder.claim(CONFIG, fresh=False)


@pytest.mark.parametrize("text", ["[]", '"name"', "7"])
def test_a_config_file_that_is_no_object_is_named(tmp_path, text):
    folder = claimed(tmp_path / "run")
    folder.config.write_text(text)
    with pytest.raises(UserError, match=r"config\.json"):
        folder.claim(CONFIG, fresh=False)


def test_what_is_no_run_is_named():
    with pytest.raises(UserError, match="'nowhere' is no run folder"):
        RunFolder("nowhere").require()


def test_a_file_is_whole_or_not_at_all(tmp_path):
    path = tmp_path / "facts.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert read_json(path) == {"a": 1}


def test_lines_are_appended(tmp_path):
    for n in range(3):
        record(tmp_path / "lines.jsonl", [{"n": n}])
    assert [json.loads(line)["n"] for line in (tmp_path / "lines.jsonl").read_text().splitlines()] == [
        0,
        1,
        2,
    ]


def test_the_environment_names_versions_devices_and_the_commit(tmp_path):
    import jax

    folder = claimed(tmp_path / "run")
    folder.write_environment(jax.devices()[:2], "glibc", 1_234)
    facts = read_json(folder.environment)
    assert facts["parameters"] == 1_234 and facts["allocator"] == "glibc"
    assert facts["devices"] == ["cpu cpu"] * 2
    assert facts["packages"]["jax"] == jax.__version__
    assert facts["git"] == run_folder.git_commit()


@pytest.mark.parametrize("name", ["metrics.jsonl", "config.json.tmp", "checkpoints", "checkpoints/7", "lock"])
def test_nothing_is_written_where_a_link_in_a_run_leads(name, tmp_path):
    victim, folder = tmp_path / "victim", RunFolder(tmp_path / "run")
    victim.mkdir()
    folder.checkpoints.mkdir(parents=True)
    write_json(folder.config, {"seed": 0})
    if (folder.path / name).is_dir():
        (folder.path / name).rmdir()
    (folder.path / name).symlink_to(victim)
    with pytest.raises(UserError, match=rf"{name}' is a link, to '.*victim', and training writes and removes"):
        folder.claim({"seed": 0}, fresh=False)
    assert [*victim.iterdir()] == []


def test_a_record_is_not_written_through_a_link(tmp_path, caplog):
    (tmp_path / "bashrc").write_text("")
    (tmp_path / "evaluations.jsonl").symlink_to(tmp_path / "bashrc")
    record(tmp_path / "evaluations.jsonl", [{"step": 1}])
    assert (tmp_path / "bashrc").read_text() == "" and "cannot be written" in caplog.text
