"""`jaxlm eval` that adapts to its text: what the options do, in which words, and on which runs."""

import json

import numpy as np
import pytest

from jaxlm.run import train
from tests import tiny_run
from tests.rows import short
from tests.test_run_recurrent import config

SAME = ("loss", "perplexity", "bits_per_byte", "standard_error", "tokens", "bytes")
BOTH = "with a cache and dynamic evaluation"


@pytest.fixture(scope="module")
def lanes(tmp_path_factory):
    """A recurrent run over lanes, on two devices."""
    folder = tmp_path_factory.mktemp("lanes")
    train(config(tiny_run.write_text(folder)), folder / "run", shards_dir=folder / "shards")
    return folder / "run"


WAYS = {
    "with a cache": ["--cache", "300", "--cache-weight", "0.3"],
    "with dynamic evaluation": ["--dynamic", "sgd", "--dynamic-rate", "1.0"],
    BOTH: ["--cache", "300", "--dynamic", "rms", "--dynamic-rate", "0.002"],
}


@pytest.mark.parametrize("name", short(WAYS, BOTH))
def test_a_cache_and_dynamic_evaluation_score_better(jaxlm, lanes, name):
    """The text is of a small grammar, and the model has hardly begun to learn it."""
    plain = jaxlm("eval", lanes, "--json").json
    found = jaxlm("eval", lanes, "--json", *WAYS[name]).json
    assert found["loss"] < plain["loss"] - 0.01
    assert found["source"] == f"validation, {name}"
    assert found["tokens"] == plain["tokens"] and plain.keys() < found.keys()


def test_a_cache_and_dynamic_evaluation_say_how(jaxlm, lanes):
    shown = jaxlm("eval", lanes, *WAYS[BOTH]).out
    found = json.loads((lanes / "evaluations.jsonl").read_text().splitlines()[-1])
    assert found["source"] == f"validation, {BOTH}"
    assert f"{found['source']}, step 20" in shown and f"{found['loss']:.4f} nats/token" in shown
    assert found["cache"] == {"window": 300, "theta": 1.0, "weight": 0.1}
    assert found["dynamic"] == {"kind": "rms", "rate": 0.002, "decay": 1e-3, "eps": 1e-3, "batches": 100}


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(["--cache", "50", "--cache-weight", "0"], marks=pytest.mark.slow),
        pytest.param(["--dynamic", "sgd", "--dynamic-rate", "0"], marks=pytest.mark.slow),
        ["--dynamic", "rms", "--dynamic-rate", "0", "--cache", "9", "--cache-weight", "0"],
    ],
    ids=str,
)
def test_what_adapts_by_nothing_is_the_plain_score_bit_for_bit(jaxlm, lanes, options):
    plain = jaxlm("eval", lanes, "--json").json
    found = jaxlm("eval", lanes, "--json", *options).json
    assert {name: found[name] for name in SAME} == {name: plain[name] for name in SAME}


@pytest.mark.slow
def test_fewer_lanes_are_longer_and_shorter_rows_are_the_same_text(jaxlm, lanes):
    """A carried state makes the length of a row nothing but the size of a step; a lane begins from nowhere."""
    score = lambda *options: jaxlm("eval", lanes, "--json", *options).json
    plain, one = score(), score("--batch", "1")
    assert one["tokens"] == plain["tokens"] and one["loss"] != plain["loss"]
    np.testing.assert_allclose(score("--length", "5")["loss"], plain["loss"], rtol=1e-5)
    np.testing.assert_allclose(score("--batch", "1", "--length", "7")["loss"], one["loss"], rtol=1e-5)
    told = score("--batch", "1", "--length", "7")
    assert (told["source"], told["batch"], told["length"]) == ("validation, batch 1, length 7", 1, 7)


@pytest.mark.slow
def test_a_text_of_ones_own_is_adapted_to_as_well(jaxlm, lanes, tmp_path):
    """The rule that asks for training's gradients finds them in the run's own shards."""
    (tmp_path / "own.txt").write_text("nobody forgets the green train.\n" * 30)
    plain = jaxlm("eval", lanes, "--json", "--text", "own.txt").json
    options = ["--dynamic", "rms", "--dynamic-rate", "0.01", "--batch", "1", "--length", "8"]
    assert jaxlm("eval", lanes, "--json", "--text", "own.txt", *options).json["loss"] < plain["loss"] - 0.3


@pytest.mark.parametrize(
    "options, words",
    [
        (["--cache-weight", "0.3"], ["--cache-weight 0.3", "give --cache too"]),
        (["--dynamic-rate", "0.3"], ["--dynamic-rate 0.3", "give --dynamic too"]),
        (["--dynamic", "rmsprop"], ["jaxlm: --dynamic \"rmsprop\": did you mean 'rms'"]),
        (["--dynamic", "sgd", "--dynamic-rate", "-1"], ["jaxlm: --dynamic-rate -1.0: must be"]),
        (["--cache", "0"], ["jaxlm: --cache 0: must be greater than 0"]),
        (["--cache", "5", "--cache-weight", "1"], ["jaxlm: --cache-weight 1.0: must be"]),
        (["--dynamic", "sgd", "--dynamic-rate", "1e38"], ["--dynamic-rate", "not finite", "lower"]),
    ],
    ids=str,
)
def test_options_that_cannot_be_are_the_users_mistake(jaxlm, lanes, options, words):
    answer = jaxlm("eval", lanes, *options)
    assert (answer.code, answer.out) == (2, "") and "Traceback" not in answer.err
    assert all(word in answer.err for word in words), answer.err


@pytest.mark.parametrize("options", [["--cache", "9"], ["--batch", "2"], ["--length", "8"]], ids=str)
def test_rows_that_begin_from_nowhere_have_no_lanes(jaxlm, trained, options):
    answer = jaxlm("eval", trained.path, *options)
    assert answer.code == 2 and "begin from nowhere: leave it out" in answer.err and options[0] in answer.err


@pytest.mark.slow
def test_a_transformer_may_learn_from_its_text_too(jaxlm, trained, tmp_path):
    other = tmp_path / "other.txt"  # what the model learned is no help here, so there is much to adapt to
    other.write_text("".join(f"Zwölf Boxkämpfer jagen Viktor {n} mal quer über den Sylter Deich.\n" for n in range(60)))
    plain = jaxlm("eval", trained.path, "--json", "--text", other).json
    found = jaxlm("eval", trained.path, "--json", "--text", other, "--dynamic", "sgd", "--dynamic-rate", "0.15").json
    assert found["loss"] < plain["loss"] - 0.5
