"""The harness: turns, ratios, missing contenders, the words that other programs rely on."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))  # the scripts import it so, being run by path

import harness  # noqa: E402
import machine  # noqa: E402

PRINT = "import json, sys; print('chatter'); print(json.dumps({'median_ms': float(sys.argv[1]), 'loss': 1.0}))"


def prints(milliseconds: float, **more) -> harness.Contender:
    return harness.Contender(["-c", PRINT, str(milliseconds)], **more)


def counting(file: Path, name: str, times: list[float]) -> harness.Contender:
    """A contender that signs its name in `file`, and takes the next of `times` each time it is run."""
    code = (
        "import json, pathlib, sys; f = pathlib.Path(sys.argv[1]); log = f.read_text() if f.exists() else '';"
        "f.write_text(log + sys.argv[2]); times = json.loads(sys.argv[3]);"
        "print(json.dumps({'median_ms': times[log.count(sys.argv[2])]}))"
    )
    return harness.Contender(["-c", code, str(file), name, json.dumps(times)])


def test_contenders_take_turns(tmp_path):
    file = tmp_path / "turns"
    harness.alternate({name: counting(file, name, [1.0, 1.0]) for name in "ABC"}, rounds=2)
    assert file.read_text() == "ABCABC"


def test_the_ratio_is_the_median_of_the_rounds_ratios(tmp_path):
    file = tmp_path / "turns"
    ours, peer = counting(file, "o", [1.0, 10.0, 2.0]), counting(file, "p", [2.0, 30.0, 2.0])
    row = harness.compare("case", harness.alternate({"ours": ours, "peer": peer}, rounds=3), "ours", "peer")
    assert (row["ratio"], row["ratio_min"], row["ratio_max"]) == (2.0, 1.0, 3.0)
    assert (row["ours"], row["peer"]) == (2.0, 2.0)  # their medians alone would say 1
    assert (row["ours_rounds"], row["peer_rounds"]) == ([1.0, 10.0, 2.0], [2.0, 30.0, 2.0])


def test_a_ratio_over_1_is_in_our_favour_for_throughput_too():
    results = {"ours": [{"rate": 900.0}], "peer": [{"rate": 300.0}]}
    row = harness.compare("case", results, "ours", "peer", figure="rate", unit="Mtok/s", more_is_better=True)
    assert row["ratio"] == 3.0


@pytest.mark.parametrize(
    ("needs", "word"),
    [
        ({"packages": ["no_such_package"]}, "no_such_package"),
        ({"programs": ["no-such-compiler"]}, "no-such-compiler"),
        ({"python": "/no/such/python"}, "/no/such/python"),
        ({"missing": "no GPU here"}, "no GPU here"),
    ],
)
def test_a_missing_peer_is_a_row_that_says_why(needs, word, capsys):
    results = harness.alternate({"ours": prints(1), "peer": prints(2, **needs)}, rounds=1)
    row = harness.compare("case", results, "ours", "peer")
    assert row["ratio"] is None and row["peer"] is None and row["ours"] == 1.0
    assert word in row["missing"]
    capsys.readouterr()
    harness.report("speed", [row], json=True)
    assert word in capsys.readouterr().out


def test_a_contender_that_fails_is_an_error_with_its_last_words():
    fails = harness.Contender(["-c", "import sys; sys.exit('out of luck')"])
    with pytest.raises(RuntimeError, match=r"(?s)'peer'.*exited 1.*out of luck"):
        harness.alternate({"peer": fails}, rounds=1)


def test_a_contender_without_json_is_an_error():
    with pytest.raises(RuntimeError, match="without a JSON object"):
        harness.alternate({"peer": harness.Contender(["-c", "print('3.4')"])}, rounds=1)


def test_the_best_peer_is_the_fastest_that_ran():
    results = {"a": [{"median_ms": 3.0}], "b": [{"median_ms": 2.0}], "c": harness.Missing("not here")}
    assert harness.best(results, ["a", "b", "c"]) == "b"
    assert harness.best(results, ["c"]) == "c"


SHOW = "import json, os;print(json.dumps({k: os.environ.get(k) for k in ('GLIBC_TUNABLES', 'MALLOC_ARENA_MAX')}))"


def test_as_installed_takes_the_shells_allocator_settings_away(monkeypatch):
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
    show = harness.Contender(["-c", SHOW])
    variants = {
        "plain": harness.as_installed(show),
        "mallopt": harness.with_mallopt(show, {"M_ARENA_MAX": 1}),
        "tunables": harness.with_settings(show, {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=2"}),
    }
    seen = {name: done[0] for name, done in harness.alternate(variants, rounds=1).items()}
    assert seen["plain"] == {"GLIBC_TUNABLES": None, "MALLOC_ARENA_MAX": None}
    assert seen["mallopt"] == {"GLIBC_TUNABLES": None, "MALLOC_ARENA_MAX": "1"}
    assert seen["tunables"] == {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=2", "MALLOC_ARENA_MAX": None}


def test_without_tcmalloc_the_variant_is_missing(monkeypatch):
    monkeypatch.setattr(machine, "tcmalloc", lambda: None)
    done = harness.alternate({"peer": harness.with_tcmalloc(prints(1))}, rounds=1)["peer"]
    assert isinstance(done, harness.Missing) and "libtcmalloc" in done.reason


def test_tcmalloc_is_really_loaded():
    if machine.tcmalloc() is None:
        pytest.skip("no tcmalloc on this machine")
    code = "import json; print(json.dumps({'loaded': 'tcmalloc' in open('/proc/self/maps').read()}))"
    variant = harness.with_tcmalloc(harness.Contender(["-c", code]))
    assert harness.alternate({"peer": variant}, rounds=1)["peer"] == [{"loaded": True}]


def test_json_is_one_object_with_the_agreed_words(capsys):
    row = harness.compare("case", {"ours": [{"median_ms": 1.0}], "peer": [{"median_ms": 2.0}]}, "ours", "peer")
    harness.report("speed", [row], json=True)
    printed = json.loads(capsys.readouterr().out)
    assert printed.keys() == {"benchmark", "machine", "versions", "commit", "rows"}
    assert printed["rows"][0].keys() >= {
        "case", "ours", "peer", "peer_name", "unit", "ratio", "ratio_min", "ratio_max",
    }  # fmt: skip
    assert printed["machine"].keys() >= {"cpu", "cores", "memory_gib", "kernel", "allocator"}
    assert {"python", "numpy"} <= printed["versions"].keys()


def test_the_peers_interpreter_tells_its_versions(monkeypatch):
    monkeypatch.setenv("JAXLM_PEER_PYTHON", sys.executable)
    assert not any(name.startswith("peer ") for name in machine.versions())
    monkeypatch.setenv("JAXLM_PEER_PYTHON", "/no/such/python")
    assert "python" in machine.versions()


def test_the_commit_says_when_files_differ_from_it(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "REPOSITORY", tmp_path)
    assert machine.commit().startswith("unknown")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-C", str(tmp_path)]
    (tmp_path / "file").write_text("a")
    for command in (["init", "-q"], ["add", "file"], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], check=True)
    clean = machine.commit()
    (tmp_path / "file").write_text("b")
    assert machine.commit() == f"{clean}-dirty"


def test_results_are_appended_and_never_replaced(tmp_path, capsys):
    path = tmp_path / "RESULTS.md"
    path.write_text("# Results\n")
    row = harness.compare("case", {"ours": [{"median_ms": 1.0}], "peer": harness.Missing("no torch")}, "ours", "peer")
    result = harness.report("speed", [row], json=False)
    harness.record(result, note="First.", path=path)
    harness.record(result, note="Second.", path=path)
    text = path.read_text()
    assert text.startswith("# Results\n") and text.count(" speed (") == 2
    assert text.index("First.") < text.index("Second.")
    assert "no torch" in text and "no torch" in capsys.readouterr().out


def test_a_loaded_stdout_does_not_break_the_json(monkeypatch):
    """The harness talks on stderr only, so that `--json | jq` works."""
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    harness.alternate({"ours": prints(1)}, rounds=1)
    assert out.getvalue() == ""
