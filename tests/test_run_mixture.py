"""A run on a mixture: it is told, evaluated by component, and, broken and gone on with, the unbroken one."""

import json
import random

import pytest

from jaxlm import run, score, session
from jaxlm.errors import Interrupted, UserError
from jaxlm.run_folder import RunFolder, read_json
from tests import tiny_run
from tests.test_run import stop_at

MIXTURE = (
    "data.mixture.kind=weights",
    "data.mixture.weights={'prose': 3, 'digits': 1}",
    "data.mixture.stages=[{'step': 12, 'mixture': {'kind': 'weights', 'weights': {'prose': 0, 'digits': 1}}}]",
    "data.mixture.most_epochs=0.1",
    "data.split.kind=hash",
    "data.split.validation=0.4",
)


class Whole:
    """The run that others are compared with."""

    said = ""  # while it ran

    def __init__(self, folder):
        self.source, self.shards, self.path = folder / "texts", folder / "shards", folder / "whole"
        rng, words = random.Random(0), {"digits": "0123456789", "prose": ["tea ", "cup ", "of ", "a "]}
        for name, choices in words.items():
            (self.source / name).mkdir(parents=True)
            texts = ("".join(rng.choices(choices, k=200 if name == "digits" else 100)) for _ in range(20))
            (self.source / name / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        self.outcome = run.train(self.config(), self.path, shards_dir=self.shards)

    def config(self, *overrides):
        return tiny_run.config(self.source, *MIXTURE, *overrides)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        lines = []
        for name in ("info", "warning"):
            patch.setattr(f"jaxlm.session.log.{name}", lambda text, *values: lines.append(text % values))
        made = Whole(tmp_path_factory.mktemp("mixture"))
    made.said = "\n".join(lines)
    return made


def test_a_run_tells_its_mixture_and_warns_of_what_it_reads_too_often(whole):
    lines = read_json(RunFolder(whole.path).data)["mixture"]
    prose, digits = (next(line for line in lines if line["component"] == name) for name in ("prose", "digits"))
    assert prose["share"] == pytest.approx(0.75 * 12 / 20, abs=0.02)
    assert digits["epochs"] == pytest.approx(20 * 64 * digits["share"] / digits["tokens"], rel=0.1)
    assert "the mixture by source, over 20 steps:\n  component" in whole.said
    assert "of these the steps 0 to 11:\n  component" in whole.said
    assert "of these the steps 12 to 19:\n  component" in whole.said and "mixes nothing" not in whole.said
    assert "'digits' is read" in whole.said and "over data.mixture.most_epochs=0.1" in whole.said


def test_a_mixture_of_one_component_is_warned_of_with_the_mend():
    assert "say no language are 'und'; make a corpus of them first" in session._of_one("language", "und", "texts")
    assert "leave data.mixture out" in session._of_one("source", ".", "texts")


def test_each_component_is_evaluated_and_all_of_them_together(whole):
    metrics = whole.outcome.metrics
    losses = [metrics[f"eval/loss/{name}"] for name in ("prose", "digits")]
    assert min(losses) < metrics["eval/loss"] < max(losses)


def test_another_mixture_is_another_run(whole):
    other = whole.config("data.mixture.weights={'prose': 1, 'digits': 1}")
    with pytest.raises(UserError, match=r"data\.mixture\.weights\.prose: 3\.0 -> 1"):
        run.train(other, whole.path, shards_dir=whole.shards)


def test_a_stage_after_the_last_step_is_refused(whole):
    with pytest.raises(UserError, match=r"one from step 12 on, and loop\.steps=12: it would never come"):
        whole.config("loop.steps=12")


@pytest.mark.slow
@pytest.mark.parametrize("step", [5, 10, 15])
def test_stopped_before_and_after_its_stage_it_is_the_unbroken_one(whole, tmp_path, step):
    with pytest.raises(Interrupted):
        run.train(whole.config(), tmp_path / "broken", shards_dir=whole.shards, show=stop_at(step))
    run.train(whole.config(), tmp_path / "broken", shards_dir=whole.shards)
    assert tiny_run.parameters(tmp_path / "broken") == tiny_run.parameters(whole.path)
    assert tiny_run.metrics(tmp_path / "broken") == tiny_run.metrics(whole.path)


@pytest.mark.slow
def test_eval_says_of_the_split_what_the_loop_said(whole):
    assert score.evaluate(whole.path)["loss"] == pytest.approx(whole.outcome.metrics["eval/loss"], rel=1e-5)
