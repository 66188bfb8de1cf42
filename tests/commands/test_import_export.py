"""`jaxlm export` and `jaxlm import`: what they print, and what they answer to mistakes."""

import json

import pytest

IMPORTED = {"run", "step", "architecture", "parameters", "parameters_sha256", "vocab", "lossless", "fresh"}
EXPORTED = {"folder", "run", "step", "architecture", "parameters", "dtype"}


def test_a_run_goes_out_and_comes_back_with_the_same_bits(jaxlm, trained):
    out = jaxlm("export", trained.path, "out", "--json")
    assert out.json.keys() == EXPORTED and out.json["architecture"] == "gpt2" and out.json["step"] == 20
    assert "writing tensors" in out.err
    back = jaxlm("import", "out", "back", "--json")
    assert back.json.keys() == IMPORTED and "reading tensors" in back.err and back.json["lossless"]
    assert back.json["fresh"] == []
    for run in (trained.path, "back"):
        facts = jaxlm("inspect", run, "--json").json
        assert facts["parameters_sha256"] == back.json["parameters_sha256"]
        assert facts["parameters"] == out.json["parameters"] == back.json["parameters"]


def test_an_import_opens_with_every_verb(jaxlm, trained, tmp_path):
    jaxlm("export", trained.path, "out")
    assert jaxlm("import", "out", "runs/back").out == "runs/back\n"
    (tmp_path / "text.txt").write_text("nobody sees.\n")  # short: the runs have rows of different lengths
    ours, theirs = (jaxlm("eval", run, "--text", "text.txt", "--json").json for run in (trained.path, "runs/back"))
    assert (ours["loss"], ours["bytes"]) == pytest.approx((theirs["loss"], theirs["bytes"]), rel=1e-6)
    assert ours["gzip_bits_per_byte"] == theirs["gzip_bits_per_byte"]
    greedy = ("--prompt", "the old ", "--temperature", "0", "--tokens", "8", "--json")
    ours, theirs = (jaxlm("generate", run, *greedy).json["completions"][0] for run in (trained.path, "runs/back"))
    assert ours["text"] == theirs["text"]
    assert jaxlm("verify", "runs/back").out == "checkpoints/0: good\n"
    assert jaxlm("report", "runs/back").code == 0
    assert jaxlm("export", "runs/back", "again").out == "again\n"
    answer = jaxlm("eval", "runs/back")
    assert answer.code == 2 and "give --text" in answer.err
    answer = jaxlm("train", "runs/back")
    assert answer.code == 2 and "imported model without a text" in answer.err


def test_another_step_and_dtype_go_out(jaxlm, trained, tmp_path):
    assert jaxlm("export", trained.path, "out", "--step", "15", "--dtype", "bfloat16", "--json").json["step"] == 15
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "bfloat16"


@pytest.mark.parametrize(
    "command, words",
    [
        (("import", "nowhere", "run"), "'nowhere' is no folder"),
        (("import", ".", "run"), "has no config.json: name the folder of a Hugging Face model"),
        (("export", "nowhere", "out"), "is no run folder"),
        (("import", "nowhere", "."), "is where you are"),
    ],
    ids=str,
)
def test_a_mistake_is_one_line_and_leaves_nothing(jaxlm, tmp_path, command, words):
    (tmp_path / "file").write_text("")
    answer = jaxlm(*command)
    assert (answer.code, answer.out) == (2, "") and words in answer.err and len(answer.err.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_model_that_nobody_computes_is_refused_before_anything_is_written(jaxlm, trained, tmp_path):
    config = json.loads((trained.path / "config.json").read_text())
    run = tmp_path / "run"
    run.mkdir()
    for name in ("tokenizer", "checkpoints"):
        (run / name).symlink_to(trained.path / name)
    (run / "config.json").write_text(json.dumps(config | {"model": config["model"] | {"softcap": 9.0}}))
    answer = jaxlm("export", run, "out")
    assert answer.code == 2 and "nearest is gpt2, which does not have model.softcap=9.0" in answer.err
    assert not (tmp_path / "out").exists()
