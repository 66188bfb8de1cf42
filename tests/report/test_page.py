import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxlm.errors import UserError
from jaxlm.report.page import summary, write
from jaxlm.run_folder import RunFolder

CONFIG = {
    "data": {"source": "stdlib", "batch": 16, "length": 64},
    "model": {"kind": "transformer", "layers": 2, "width": 32, "vocab": 512},
    "optimizer": {"kind": "adamw", "peak_rate": 3e-4},
    "loop": {"steps": 40},
}
EVALUATION = {
    "step": 40,
    "loss": 2.5,
    "perplexity": math.exp(2.5),
    "bits_per_byte": 1.5,
    "tokens": 1_000,
    "bytes": 2_404,
    "standard_error": 0.02,
    "gzip_bits_per_byte": 2.0,
    "xz_bits_per_byte": 1.2,
    "source": "validation",
}


def metrics(steps: int, **wrong) -> list[dict]:
    """Lines as the loop writes them; `wrong` replaces values of all of them."""
    lines = [
        {
            "step": step,
            "loss": 2 + 1 / step,
            "tokens_per_second": 51_200.0,
            "data_wait_ms": 0.1,
            "step_ms": 20.0,
            "tokens": 1_000.0,
            "skipped": 0.0,
            "learning_rate": 3e-4,
            "grad_norm": 0.5,
            "seconds": 0.02 * step,
        }
        | wrong
        for step in range(1, steps + 1)
    ]
    return [*lines, {"step": steps, "eval/loss": 2.25, "eval/bits_per_byte": 1.1}] if steps else []


def run_folder(folder: Path, **contents) -> Path:
    """`config=...` is written to config.json; a list, one JSON object a line, to a .jsonl; text as it is."""
    run = folder / "a run"
    run.mkdir(parents=True)
    for name, content in contents.items():
        if isinstance(content, str | bytes):
            path, text = run / (name.replace("__", ".")), content
        elif isinstance(content, list):
            path, text = run / f"{name}.jsonl", "".join(json.dumps(line) + "\n" for line in content)
        else:
            path, text = run / f"{name}.json", json.dumps(content)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    return run


class Page(HTMLParser):
    """What a browser would make of a page: elements, attributes, and the text of each element."""

    def __init__(self, path: Path):
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.text: dict[str, str] = {}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        for tag in set(self.open):
            self.text[tag] = self.text.get(tag, "") + data

    def named(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.elements if name == tag]


def full(folder: Path, **other) -> Path:
    sample = {"prompt": "def f(", "text": "x):\n\treturn  x\n", "step": 40, "settings": {"temperature": 0.8}}
    splits = {"train": {"documents": 9, "tokens": 1_200, "predicted": 1_200, "bytes": 4_800}}
    contents = {
        "config": CONFIG,
        "layout": {"why": "one device"},
        "environment": {"started": "2026-01-02 03:04 UTC", "parameters": 34_816, "python": "3.11.7"},
        "data": {"counts": splits, "digest": "0123abcd"},
        "metrics": metrics(40),
        "evaluations": [EVALUATION],
        "samples": [sample],
    }
    return run_folder(folder, **(contents | other))


def test_the_page_asks_the_network_for_nothing(tmp_path):
    path = write(full(tmp_path))
    html = path.read_text(encoding="utf-8")
    assert not re.search(r"https?://|url\(|@import|//[a-z]+\.", html)
    assert not [a for _, a in Page(path).elements if a.keys() & {"src", "href", "srcset", "action", "data"}]
    assert "default-src 'none'" in html


def test_the_page_shows_what_the_run_was(tmp_path):
    path = write(full(tmp_path))
    text = Page(path).text["main"]
    for shown in (
        "a run",
        "finished, 40 steps",
        "started 2026-01-02 03:04 UTC",
        "A transformer of 34.8 k parameters (2 layers, width 32, vocabulary 512), trained on stdlib",
        "40 k",  # tokens: 40 steps of 1,000
        "0.8 s",
        "1.500 bits/byte, 25.0 % fewer than gzip -9 and 25.0 % more than xz -9",
        "2.500 ± 0.020",
        "12.18 ± 0.24",  # perplexity * standard error
        "1.500 ± 0.012",  # bits/byte * standard error / loss
        "temperature 0.8",
        "Median 0.5000 % of a step",  # 0.1 ms of 20 ms
        "4,800",
        "3.11.7",
        "one device",
    ):
        assert shown in text, shown
    assert len(Page(path).named("svg")) == 5


@pytest.mark.parametrize("kind, unit", [("next_token", "token"), ("classification", "example"), ([1], "token")])
def test_a_loss_has_the_unit_of_its_objective(tmp_path, kind, unit):
    config = CONFIG | {"data": CONFIG["data"] | {"objective": {"kind": kind}}}
    text = Page(write(full(tmp_path, config=config))).text["body"]
    assert text.count(f"nats/{unit}") == text.count("nats/") >= 4  # both figures of the header, the chart, the table


@pytest.mark.parametrize("evaluated", [True, False])
def test_a_model_that_answers_has_an_accuracy_and_writes_no_samples(tmp_path, evaluated):
    data, model = CONFIG["data"] | {"objective": {"kind": "classification"}}, {"kind": "encoder", "layers": 1}
    scored = {"loss": 0.25, "accuracy": 0.875, "asked": "examples", "bits_per_byte": None, "gzip_bits_per_byte": None}
    line = {name: value for name, value in EVALUATION.items() if name in ("step", "source", "standard_error", "tokens")}
    in_loop = [*metrics(40)[:-1], {"step": 40, "eval/loss": 0.25, "eval/accuracy": 0.875}]
    config = CONFIG | {"data": data, "model": model}
    evaluations = [line | scored] if evaluated else []
    page = Page(write(full(tmp_path, config=config, metrics=in_loop, evaluations=evaluations, samples=[])))
    text = page.text["main"]
    assert "accuracy0.8750 held-out" in page.text["dl"] and "An encoder of 34.8 k parameters (1 layer)" in text
    assert not any(absent in text for absent in ("jaxlm generate", "bits", "perplexity", "gzip"))
    assert ("1 k examples" in text) == evaluated


def test_every_chart_has_a_title_and_a_description_in_words(tmp_path):
    page = Page(write(full(tmp_path)))
    ids = {attributes.get("id") for _, attributes in page.elements}
    for svg in page.named("svg"):
        assert svg["role"] == "img"
        assert set(svg["aria-labelledby"].split()) <= ids
    assert "held-out: 1 points from 2.250 at step 40" in page.text["desc"]


def test_no_id_is_given_twice(tmp_path):
    ids = [a["id"] for _, a in Page(write(full(tmp_path))).elements if "id" in a]
    assert len(ids) == len(set(ids))


def test_the_same_files_give_the_same_bytes(tmp_path):
    first, second = write(full(tmp_path / "1")), write(full(tmp_path / "2"))
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes() == write(first.parent).read_bytes()


def test_nothing_but_the_page_is_left_in_the_folder(tmp_path):
    run = full(tmp_path)
    before = {path.name for path in run.iterdir()}
    write(run)
    assert {path.name for path in run.iterdir()} - before == {"report.html"}


HOSTILE = "</pre></script><script>alert(1)</script><img src=x onerror=alert(1)>\"' onload=x &lt;<!--"


def test_hostile_text_is_shown_and_never_run(tmp_path):
    run = full(
        tmp_path,
        samples=[{"prompt": HOSTILE, "text": HOSTILE, "step": 1, "settings": {HOSTILE: HOSTILE}}],
        evaluations=[EVALUATION | {"source": HOSTILE}],
        environment={HOSTILE: HOSTILE, "nested": {HOSTILE: [HOSTILE]}, "started": HOSTILE},
        data={"counts": {HOSTILE: {"tokens": 1}}},
        config=CONFIG | {"data": {"source": HOSTILE}, HOSTILE: {HOSTILE: HOSTILE}},
    )
    page = Page(write(run))
    clean = Page(write(full(tmp_path / "clean")))
    assert len(page.named("script")) == len(clean.named("script")) == 2
    assert not page.named("img")
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert page.text["pre"] == HOSTILE + HOSTILE


def test_a_sample_keeps_its_white_space(tmp_path):
    prompt, text = "\n\n  def f(", "x):\n\treturn  x\n\n\n"
    page = Page(write(full(tmp_path, samples=[{"prompt": prompt, "text": text}])))
    assert page.text["pre"] == prompt + text


def test_text_that_cannot_be_seen_becomes_visible(tmp_path):
    text = "a\x00b\x1bc\u202ed\ud800e"
    page = Page(write(full(tmp_path, samples=[{"prompt": "", "text": text}])))
    assert page.text["pre"] == "a[U+0000]b[U+001B]c[U+202E]d[U+D800]e"


def test_a_mixture_is_told_by_component(tmp_path):
    line = {"component": HOSTILE, "documents": 1_234, "tokens": 56_789, "share": 0.25, "epochs": 3.5}
    text = Page(write(full(tmp_path, data={"counts": {"train": {}}, "mixture": [line, 3]}))).text["main"]
    for words in (HOSTILE, "1,234", "56,789", "25.00%", "3.500"):
        assert words in text


@pytest.mark.parametrize("name", ["config", "layout", "environment", "data", "metrics", "evaluations", "samples"])
def test_any_file_may_be_missing(tmp_path, name):
    run = full(tmp_path)
    next(run.glob(f"{name}.*")).unlink()
    text = Page(write(run)).text["main"]
    assert text.count("Nothing here yet") == 1


def test_an_empty_section_names_the_command_that_fills_it(tmp_path):
    text = Page(write(run_folder(tmp_path, config=CONFIG))).text["main"]
    for command in ("jaxlm train", "jaxlm eval RUN", "jaxlm generate RUN"):
        assert f"Nothing here yet: {command}" in text
    assert "no step logged yet" in text


@pytest.mark.parametrize("content", [b"", b"\n\n", b'{"step": 1, "los', b"\xff\xfe\x00", b"[1, 2]\n3\nnull\n"])
def test_a_broken_file_is_named_and_the_rest_is_shown(tmp_path, content):
    run = full(tmp_path)
    (run / "metrics.jsonl").write_bytes(content)
    (run / "environment.json").write_bytes(content)
    text = Page(write(run)).text["main"]
    assert "1.500 bits/byte" in text
    assert ("metrics.jsonl: lines left out" in text) == bool(content.strip())
    assert "environment.json is not a JSON object" in text


def test_a_run_that_stopped_is_told_from_one_that_trains(tmp_path):
    path = run_folder(tmp_path, config=CONFIG, metrics=metrics(10))
    assert "stopped, at step 10 of 40" in write(path).read_text()
    with RunFolder(path).locked():
        assert "training, at step 10 of 40" in write(path).read_text()


def test_a_line_cut_by_a_kill_costs_that_line_only(tmp_path):
    run = full(tmp_path)
    with (run / "metrics.jsonl").open("a") as lines:
        lines.write('{"step": 41, "loss": 1.')
    assert "metrics.jsonl: lines left out because they are no JSON objects: 1." in Page(write(run)).text["main"]
    assert summary(run)["step"] == 40


def test_a_run_of_one_step_has_its_dots(tmp_path):
    path = write(run_folder(tmp_path, metrics=metrics(1)))
    assert 'class="alone main" d="M500.0 ' in path.read_text(encoding="utf-8")
    assert summary(path.parent)["train_loss_smoothed"] == 3.0


@pytest.mark.parametrize("bad", ["null", "NaN", '"nan"', '"inf"', "-Infinity", "1e999", "1" + 400 * "0"])
def test_a_loss_that_is_not_finite_is_a_gap_and_is_counted(tmp_path, bad):
    lines = [json.dumps(line) for line in metrics(9)]
    lines[4] = '{"step": 5, "loss": ' + bad + "}"
    path = write(run_folder(tmp_path, metrics__jsonl="\n".join(lines)))
    html = path.read_text(encoding="utf-8")
    assert "1 step had a loss or gradient that was not finite" in html
    curve = re.search(r'<path class="main" d="([^"]*)"', html)
    assert curve is not None and curve[1].count("M") == 2
    assert summary(path.parent)["skipped_steps"] == 1
    assert not re.search(r"\bnan\b|NaN|Infinity", Page(path).text["main"])


def test_steps_skipped_between_two_logged_ones_count_too(tmp_path):
    run = run_folder(tmp_path, metrics=metrics(9, skipped=3.0))
    assert "3 steps had a loss or gradient" in Page(write(run)).text["main"]
    assert summary(run)["skipped_steps"] == 3


def test_a_run_whose_every_loss_was_nan_still_has_a_page(tmp_path):
    run = run_folder(tmp_path, metrics=metrics(30, loss=None))
    assert "30 steps had a loss" in Page(write(run)).text["main"]
    assert summary(run)["train_loss_smoothed"] is None


def test_a_long_run_makes_a_small_page_that_keeps_its_spike(tmp_path):
    lines = [f'{{"step":{step},"loss":{7 if step == 12_345 else 2 + step % 7 / 10}}}' for step in range(30_000)]
    path = write(run_folder(tmp_path, metrics__jsonl="\n".join(lines)))
    assert path.stat().st_size < 300_000
    assert "1 of 30,000 logged values lie above the frame, the highest 7.000 at step 12,345" in path.read_text()


def test_the_summary_is_json_with_the_newest_numbers(tmp_path):
    run = full(tmp_path, evaluations=[EVALUATION, EVALUATION | {"source": "other.txt", "loss": 9.0}])
    got = json.loads(json.dumps(summary(run), allow_nan=False))
    assert got["path"] == str(run / "report.html")
    assert (got["step"], got["steps"], got["parameters"]) == (40, 40, 34_816)
    assert (got["eval_loss"], got["eval_bits_per_byte"], got["xz_bits_per_byte"]) == (2.5, 1.5, 1.2)


def test_the_loop_is_believed_where_the_last_evaluation_is_older(tmp_path):
    got = summary(full(tmp_path, evaluations=[EVALUATION | {"step": 20}]))
    assert (got["eval_step"], got["eval_loss"], got["gzip_bits_per_byte"]) == (40, 2.25, None)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="is no run folder"):
        write(tmp_path / "absent")
    with pytest.raises(UserError, match=r"none of metrics\.jsonl"):
        write(tmp_path)
    assert list(tmp_path.iterdir()) == []


names = st.sampled_from(["step", "loss", "eval/loss", "source", "counts", "data", "model", "settings", "text"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names | st.text(max_size=3), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=50)
@given(objects=st.lists(st.dictionaries(names | st.sampled_from(sorted(EVALUATION)), values), min_size=1, max_size=6))
def test_no_json_in_the_folder_stops_the_page(tmp_path_factory, objects):
    some = objects[0]
    contents = {name: some for name in ("config", "layout", "environment", "data")}
    lines = {name: objects for name in ("metrics", "evaluations", "samples")}
    run = run_folder(tmp_path_factory.mktemp("any"), **contents, **lines)
    assert Page(write(run)).named("h1")
    json.dumps(summary(run), allow_nan=False)
