"""The verbs that look at a finished run, and the words of theirs that other programs rely on."""

import json
import shutil

import jax
import numpy as np
import pytest

from jaxlm import saved
from tests import tiny_run
from tests.faults import injector
from tests.generation.history import history

EVAL_WORDS = {
    "step", "loss", "perplexity", "bits_per_byte", "tokens", "bytes", "standard_error",
    "gzip_bits_per_byte", "xz_bits_per_byte",
}  # fmt: skip


@pytest.fixture
def copy(trained, tmp_path):
    """The trained run, to be harmed."""
    return shutil.copytree(trained.path, tmp_path / "copy")


# --- eval


def test_eval_answers_in_the_words_that_others_rely_on(jaxlm, trained):
    found = jaxlm("eval", trained.path, "--json").json
    assert found.keys() >= EVAL_WORDS and found["step"] == 20
    np.testing.assert_allclose(np.exp(found["loss"]), found["perplexity"], rtol=1e-6)
    bits = found["loss"] * found["tokens"] / np.log(2) / found["bytes"]
    np.testing.assert_allclose(found["bits_per_byte"], bits, rtol=1e-6)
    last = json.loads((trained.path / "evaluations.jsonl").read_text().splitlines()[-1])
    assert last == found


def test_eval_of_another_step_and_another_split(jaxlm, trained):
    newest, before = (jaxlm("eval", trained.path, "--json", *o).json for o in ((), ("--step", "15")))
    assert before["step"] == 15 and before["loss"] != newest["loss"]
    test = jaxlm("eval", trained.path, "--split", "test", "--json").json
    assert test["source"] == "test" and 0 < test["bytes"] < newest["bytes"]


def test_eval_of_a_text_counts_its_bytes(jaxlm, trained, tmp_path):
    text = tmp_path / "other.txt"
    text.write_text("the old king sees nobody. Ünïcödé, 漢字.\n" * 9, encoding="utf-8")
    found = jaxlm("eval", trained.path, "--text", text, "--json").json
    assert found["bytes"] == text.stat().st_size and found["source"] == str(text)
    assert found["tokens"] == found["bytes"] + 1, "a byte a token, and the end of the document"


def test_eval_of_the_text_that_the_split_holds_is_eval_of_the_split(jaxlm, trained, tmp_path):
    whole = trained.source.read_text()
    start, end = round(0.85 * len(whole)), round(0.95 * len(whole))
    (tmp_path / "held_out.txt").write_text(whole[start:end])
    text = jaxlm("eval", trained.path, "--text", tmp_path / "held_out.txt", "--json").json
    split = jaxlm("eval", trained.path, "--json").json
    assert text["bytes"] == split["bytes"]
    np.testing.assert_allclose(text["loss"], split["loss"], rtol=1e-5)


def test_eval_for_people_shows_the_same_numbers(jaxlm, trained):
    found, shown = jaxlm("eval", trained.path, "--json").json, jaxlm("eval", trained.path).out
    for name in ("loss", "bits_per_byte", "gzip_bits_per_byte", "xz_bits_per_byte"):
        assert f"{found[name]:.4f}" in shown


@pytest.mark.parametrize(
    "options, words",
    [
        (["--step", "7"], ["no checkpoint step 7", "[15, 20]"]),
        (["--split", "held-out"], ["'held-out'", "train, validation, test"]),
        (["--text", "nowhere.txt"], ["--text 'nowhere.txt'", "does not exist"]),
        (["--text", ""], ["--text is empty"]),
        (["--text", "nowhere.txt", "--split", "test"], ["instead of a split", "leave out --split"]),
    ],
    ids=str,
)
def test_eval_of_what_is_not_there_is_the_users_mistake(jaxlm, trained, options, words):
    answer = jaxlm("eval", trained.path, *options)
    assert (answer.code, answer.out) == (2, "") and "Traceback" not in answer.err
    assert all(word in answer.err for word in words)


def test_eval_of_a_text_without_text_is_the_users_mistake(jaxlm, trained, tmp_path):
    (tmp_path / "empty.txt").write_text("")
    answer = jaxlm("eval", trained.path, "--text", "empty.txt")
    assert answer.code == 2 and "--text 'empty.txt' holds nothing to score: left out were 1 empty" in answer.err


def test_eval_finds_shards_that_moved_when_it_is_told(jaxlm, trained, copy, tmp_path):
    data = json.loads((copy / "data.json").read_text())
    (copy / "data.json").write_text(json.dumps({**data, "shards": data["shards"].replace("shards", "gone")}))
    assert jaxlm("eval", copy).code == 2
    assert jaxlm("eval", copy, "--shards-dir", trained.shards, "--json").json["step"] == 20


def test_eval_refuses_shards_the_run_was_not_trained_on(jaxlm, copy):
    data = json.loads((copy / "data.json").read_text())
    (copy / "data.json").write_text(json.dumps({**data, "digest": "0" * 32}))
    answer = jaxlm("eval", copy)
    assert answer.code == 2 and "the run was trained on 0000" in answer.err


@pytest.mark.parametrize("verb", ["eval", "inspect", "verify", "report"])
def test_what_is_no_run_is_named(jaxlm, tmp_path, verb):
    answer = jaxlm(verb, tmp_path / "nothing")
    assert answer.code == 2 and "nothing" in answer.err and "Traceback" not in answer.err


def test_eval_of_a_run_that_lost_its_data_names_it(jaxlm, copy):
    (copy / "data.json").unlink()
    answer = jaxlm("eval", copy)
    assert answer.code == 2 and "data.json is missing" in answer.err and "--text" in answer.err


def test_eval_of_a_run_that_lost_its_layout_takes_one_device(jaxlm, trained, copy, caplog):
    (copy / "layout.json").unlink()
    answer = jaxlm("eval", copy, "--json")
    assert "layout.json is missing; evaluating on one device" in caplog.text
    np.testing.assert_allclose(answer.json["loss"], jaxlm("eval", trained.path, "--json").json["loss"], rtol=1e-5)


@pytest.mark.parametrize("verb", ["verify", "eval"])
def test_a_data_file_of_another_shape_is_named(jaxlm, copy, verb):
    (copy / "data.json").write_text("{}")
    answer = jaxlm(verb, copy)
    assert answer.code == 2 and "data.json does not name 'shards'" in answer.err and "Traceback" not in answer.err


@pytest.mark.parametrize("verb", ["eval", "generate"])
def test_a_config_edited_by_hand_does_not_open_the_checkpoint(jaxlm, copy, verb):
    config = json.loads((copy / "config.json").read_text())
    config["model"]["width"] *= 2
    (copy / "config.json").write_text(json.dumps(config))
    answer = jaxlm(verb, copy, *(["--prompt", "the"] if verb == "generate" else []))
    assert answer.code == 2 and "params" not in answer.out and "Traceback" not in answer.err
    assert "checkpoint step 20" in answer.err and "float32[32] is saved" in answer.err


def test_what_cannot_be_kept_is_shown_all_the_same(jaxlm, copy, caplog):
    (copy / "evaluations.jsonl").unlink(missing_ok=True)
    (copy / "evaluations.jsonl").mkdir()
    answer = jaxlm("eval", copy, "--json")
    assert answer.code == 0 and answer.json["step"] == 20
    assert "evaluations.jsonl cannot be written" in caplog.text


def test_generate_without_standard_input_asks_for_a_prompt(jaxlm, trained, monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    answer = jaxlm("generate", trained.path)
    assert answer.code == 2 and "no prompt" in answer.err


# --- inspect


def test_inspect_of_another_programs_config_is_the_users_mistake(jaxlm, tmp_path):
    (tmp_path / "config.json").write_text('{"architectures": ["GPT2LMHeadModel"]}')
    answer = jaxlm("inspect", tmp_path)
    assert answer.code == 2 and "architectures" in answer.err


def test_inspect_knows_the_parameters_of_the_newest_step(jaxlm, trained):
    facts = jaxlm("inspect", trained.path, "--json").json
    assert (facts["step"], facts["steps"], facts["saved_steps"]) == (20, 20, [15, 20])
    assert facts["parameters_sha256"] == tiny_run.parameters(trained.path)
    before = jaxlm("inspect", trained.path, "--step", "15", "--json").json
    assert before["step"] == 15 and before["parameters_sha256"] != facts["parameters_sha256"]
    assert before["parameters"] == facts["parameters"] > 20_000
    for name in ("layout", "data", "environment"):
        assert facts[name] == json.loads((trained.path / f"{name}.json").read_text())


def test_inspect_of_a_run_that_saved_nothing_says_what_there_is(jaxlm, copy):
    shutil.rmtree(copy / "checkpoints")
    facts = jaxlm("inspect", copy, "--json").json
    assert facts["saved_steps"] == [] and "parameters_sha256" not in facts


@pytest.mark.slow
def test_inspect_shows_where_the_parameters_of_a_run_lie(jaxlm, trained, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tiny_run.ROOT))  # its child is of this checkout too
    found = jaxlm("inspect", trained.path, "--sharding", "--json").json
    assert found["mesh"] == {"data": 2, "fsdp": 1, "tensor": 1, "sequence": 1} and found["compile"] == "shard_map"
    assert found["totals"]["parameters"][0] == found["totals"]["parameters"][1]
    split = (
        "--set",
        "mesh.layout=axes",
        "--set",
        "mesh.devices=none",
        "--set",
        "mesh.fsdp=2",
        "--set",
        "mesh.tensor=2",
    )
    found = jaxlm("inspect", trained.path, "--sharding", *split, "--set", "model.vocab=258", "--json").json
    (table,) = (one for one in found["parameters"] if one["name"] == "embedding")
    assert (table["shape"], table["device_shape"]) == ([258, 32], [129, 16])
    assert (table["axes"], table["mesh_axes"]) == (["vocab", "width"], ["tensor", "fsdp"])
    assert found["rematerialised"] == found["warnings"] == []


@pytest.mark.slow
def test_inspect_of_a_config_needs_no_text(jaxlm, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tiny_run.ROOT))
    answer = jaxlm("inspect", "quickstart", "--sharding", "--devices", "4")
    assert answer.code == 0 and "fsdp 4" in answer.out and "vocabulary 4,096" in answer.out
    assert "nothing large stays whole" in answer.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--devices", "4"], "are for --sharding"),
        (["--sharding", "--step", "15"], "leave one out"),
        (["--sharding", "--devices", "3"], "data.batch=4 does not divide over 3 devices"),
        (["--sharding", "--set", "mesh.layout=axes", "--set", "mesh.devices=none", "--devices", "3"], "is of 1: leave"),
    ],
    ids=str,
)
def test_inspect_refuses_what_makes_no_sense(jaxlm, trained, arguments, words):
    answer = jaxlm("inspect", trained.path, *arguments)
    assert answer.code == 2 and words in answer.err


# --- verify


def test_verify_finds_an_untouched_run_good(jaxlm, trained):
    answer = jaxlm("verify", trained.path, "--json")
    assert answer.code == 0 and answer.json["problems"] == {}
    assert len(answer.json["checked"]) == 3, "two checkpoints and the shards"
    assert jaxlm("verify", trained.path).out.count(": good") == 3


@pytest.mark.parametrize("seed", range(5))
def test_verify_finds_a_flip_in_any_checkpoint(jaxlm, copy, seed):
    files = injector.files_below(copy / "checkpoints")
    injector.flip_byte(files[seed * len(files) // 5], seed)
    answer = jaxlm("verify", copy, "--json")
    assert answer.code == 4 and len(answer.json["problems"]) == 1 and "damaged" in answer.err


def test_verify_finds_a_flip_in_the_shards_and_shards_that_are_gone(jaxlm, copy, trained, tmp_path):
    data = json.loads((copy / "data.json").read_text())
    shards = shutil.copytree(data["shards"], tmp_path / "shards")
    (copy / "data.json").write_text(json.dumps({**data, "shards": str(shards)}))
    injector.flip_byte(shards / "train.tokens", seed=0)
    answer = jaxlm("verify", copy, "--json")
    assert answer.code == 4 and str(shards) in answer.json["problems"]
    injector.truncate(shards / "train.tokens", seed=0)
    answer = jaxlm("verify", copy, "--json")
    assert answer.code == 4 and "train.tokens" in str(answer.json["problems"])
    shutil.rmtree(shards)
    answer = jaxlm("verify", copy, "--json")
    assert answer.code == 4 and answer.json["problems"] == {str(shards): ["missing"]}


# --- prepare and configs


def test_prepare_answers_with_folder_digest_and_counts(jaxlm, trained):
    found = jaxlm("prepare", trained.config, "--shards-dir", trained.shards, "--json").json
    data = json.loads((trained.path / "data.json").read_text())
    assert (found["shards"], found["digest"]) == (data["shards"], data["digest"])
    assert found["train"] == data["counts"]["train"] and found["vocab"] == 257
    assert jaxlm("prepare", trained.config, "--shards-dir", trained.shards).out.strip() == data["shards"]


def test_configs_are_listed_with_what_they_say_of_themselves(jaxlm):
    found = jaxlm("configs", "--json").json
    assert all(facts["summary"] for facts in found.values())
    assert set(jaxlm("configs").out.split()) >= set(found)


# --- report and generate


def test_report_prints_the_page_it_wrote(jaxlm, copy):
    answer = jaxlm("report", copy)
    assert (answer.code, answer.out) == (0, f"{copy}/report.html\n")
    assert "<html" in (copy / "report.html").read_text()


def test_generate_streams_the_text_that_it_answers_in_json(jaxlm, copy):
    command = ("generate", copy, "--prompt", "nobody ", "--tokens", "9")
    found = jaxlm(*command, "--json").json
    (completion,) = found["completions"]
    assert found["step"] == 20 and completion["prompt"] == "nobody "
    assert jaxlm(*command).out == "nobody " + completion["text"] + "\n"
    sample = json.loads((copy / "samples.jsonl").read_text().splitlines()[-1])
    assert sample["text"] == completion["text"] and sample["settings"]["tokens"] == 9


def test_generate_by_default_fills_a_context_that_is_short(jaxlm, copy):
    (completion,) = jaxlm("generate", copy, "--prompt", "nobody ", "--json").json["completions"]
    sample = json.loads((copy / "samples.jsonl").read_text().splitlines()[-1])
    assert sample["settings"]["tokens"] == 32 - len("nobody ") and len(completion["tokens"]) <= 25


@pytest.mark.parametrize("options", [["--prompt", "a" * 40], ["--prompt", "a", "--tokens", "99"]], ids=["long", "many"])
def test_generate_that_fails_prints_no_prompt(jaxlm, trained, options):
    answer = jaxlm("generate", trained.path, *options)
    assert (answer.code, answer.out) == (2, "") and "context is 32 tokens" in answer.err


def test_generate_with_beams_answers_the_best_with_their_scores(jaxlm, copy):
    command = ("generate", copy, "--prompt", "nobody ", "--prompt", "my ", "--tokens", "9", "--beams", "4")
    found = jaxlm(*command, "--length-penalty", "0.5", "--best", "2", "--json").json["completions"]
    assert [completion["prompt"] for completion in found] == ["nobody ", "nobody ", "my ", "my "]
    assert found[0]["score"] > found[1]["score"] and found[2]["score"] > found[3]["score"]
    for completion in found:
        length = len(completion["tokens"]) + completion["stopped"]
        np.testing.assert_allclose(completion["score"], completion["log_probability"] * length**0.5, rtol=1e-5)
    shown = jaxlm(*command, "--length-penalty", "0.5", "--best", "2").out
    assert shown == "\n---\n".join(completion["prompt"] + completion["text"] for completion in found) + "\n"
    sample = json.loads((copy / "samples.jsonl").read_text().splitlines()[-1])
    assert sample["text"] == found[-1]["text"]
    assert sample["settings"] == {"beams": 4, "length_penalty": 0.5, "best": 2, "tokens": 9}


def test_one_beam_says_what_temperature_0_says(jaxlm, copy):
    command = ("generate", copy, "--prompt", "the old ", "--tokens", "9")
    assert jaxlm(*command, "--beams", "1", "--length-penalty", "0").out == jaxlm(*command, "--temperature", "0").out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ["--beams", "4", "--temperature", "0.7"],
            "--temperature 0.7: is for drawing tokens, and --beams 4 draws",
        ),
        (["--beams", "4", "--top-k", "5", "--seed", "0"], "--top-k 5, --seed 0: is for drawing tokens"),
        (["--length-penalty", "1"], "--length-penalty 1.0: is for a search, so give --beams as well"),
        (["--best", "2"], "--best 2: is for a search"),
        (["--beams", "2", "--best", "3"], "--best 3 completions are more than --beams 2 can find: give more beams"),
        (["--beams", "2", "--length-penalty", "-1"], "--length-penalty -1.0: must"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_generate_searches_or_draws(jaxlm, trained, options, words):
    answer = jaxlm("generate", trained.path, "--prompt", "a", *options)
    assert (answer.code, answer.out) == (2, "") and words in answer.err and "Traceback" not in answer.err
    assert len(answer.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "options, words",
    [
        (["--temperature", "-1"], "--temperature -1.0: must be greater than or equal to 0"),
        (["--temperature", "1e300"], "--temperature 1e+300: must be less than or equal to 1000000"),
        (["--top-k", "0"], "--top-k 0: must be greater than 0\n"),
        (["--tokens", "3000000000"], "tokens=3000000000: ask for 1 to 1,048,576"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_option_that_cannot_be_is_named_as_it_was_given(jaxlm, trained, options, words):
    answer = jaxlm("generate", trained.path, "--prompt", "a", *options)
    assert (answer.code, answer.out) == (2, "") and answer.err.startswith(f"jaxlm: {words}")
    assert len(answer.err.strip().splitlines()) == 1


def test_generate_says_that_beams_do_not_stream(jaxlm):
    assert "comes when the search is over" in " ".join(jaxlm("generate", "--help").out.split())


def test_generate_says_its_defaults(jaxlm, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    said = jaxlm("generate", "--help").out
    assert [said.count(f"default: {value}. ") for value in ("0.8", "0.95", "0", "1")] == [1, 1, 1, 2]


def test_generate_shows_no_source_before_what_an_encoder_decoder_makes_of_it(jaxlm, copy, monkeypatch):
    family = history(257, reads=True)
    answers = saved.load(copy)._replace(model=family, params=family.init(jax.random.key(0)))
    monkeypatch.setattr(saved, "load", lambda run, step: answers)
    command = ("generate", copy, "--prompt", "nobody ", "--tokens", "9")
    (completion,) = jaxlm(*command, "--temperature", "0", "--json").json["completions"]
    assert completion["prompt"] == "nobody "
    assert jaxlm(*command, "--temperature", "0").out == jaxlm(*command, "--beams", "1", "--length-penalty", "0").out
    assert jaxlm(*command, "--temperature", "0").out == completion["text"] + "\n"


def test_what_the_disk_refuses_is_one_line(jaxlm, trained, tmp_path):
    answer = jaxlm("train", trained.config, "--run-dir", "x" * 300)
    assert answer.code == 1 and answer.err.count("\n") == 1 and "File name too long\n" in answer.err


def test_a_broken_pipe_is_no_traceback(jaxlm, monkeypatch):
    from jaxlm.commands import terminal

    def closed(**_):
        raise BrokenPipeError

    with pytest.raises(SystemExit) as exit:
        terminal.guarded(closed)
    assert exit.value.code == 1
