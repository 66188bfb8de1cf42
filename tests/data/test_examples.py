"""Labelled examples, from lines of .jsonl to batches: every label stands at the token it was given for."""

import itertools
import json

import numpy as np
import pytest
from tokenizers import Tokenizer

from jaxlm.corpus.prepare import prepare
from jaxlm.data import examples, tokenizer
from jaxlm.data.dataset import DataConfig, HashSplit
from jaxlm.data.loader import batches, evaluation_batches
from jaxlm.data.masking import Masked
from jaxlm.data.shards import Shards
from jaxlm.data.tokenizer_config import HuggingFaceConfig, SentencePieceConfig
from jaxlm.errors import UserError
from tests.data.huggingface_kinds import TEXTS, write

SEPARATOR = 1
WORDS = [
    "ada",
    "sleeps",
    "in",
    "the",
    "naïve",
    "garden",
    "while",
    "rain",
    "falls",
    "on",
    "every",
    "café",
    "old",
    "中文",
]


def sentence(rng, least=1, most=12):
    return " ".join(rng.choice(WORDS, rng.integers(least, most)))


def records(kind, count=120):
    rng = np.random.default_rng(0)
    for n in range(count):
        if kind == "seq2seq":
            yield {"source": f"{n} {sentence(rng)}", "target": f"{n} {sentence(rng).upper()}"}
        elif kind == "classification":
            yield {"text": f"{n} {sentence(rng)}", "label": ["bad", "fair", "good"][n % 3], "other": sentence(rng)}
        elif kind == "tagging":
            words = [str(n), *sentence(rng).split()]
            yield {"text": words, "tags": ["NUMBER" if w.isdigit() else "CAFE" if "é" in w else "O" for w in words]}
        else:
            text = f"{n} {sentence(rng, 5, 40)} treasure {sentence(rng, 5, 40)}"
            found = {"text": ["treasure"], "answer_start": [text.index("treasure")]}
            yield {"question": "where?", "text": text, "answers": found if n % 4 else {"text": [], "answer_start": []}}


OBJECTIVES = {
    "seq2seq": {"kind": "seq2seq", "source_length": 48},
    "classification": {"kind": "classification", "classes": ["bad", "fair", "good"], "texts": 5},
    "tagging": {"kind": "tagging", "classes": ["O", "NUMBER", "CAFE"]},
    "extraction": {"kind": "extraction", "question_length": 8, "stride": 12},
}


def config(folder, kind, lines=None, **objective):
    path = folder / f"{kind}.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in (records(kind) if lines is None else lines)))
    return DataConfig.model_validate(
        dict(
            source=str(path), length=40, batch=8, split=HashSplit(validation=0.2, test=0),
            tokenizer=SentencePieceConfig(vocab=340, sample_bytes=10_000), objective={**OBJECTIVES[kind], **objective},
        )
    )  # fmt: skip


def read(cfg, root):
    """(shards, tokenizer, validation batches)"""
    shards = prepare(cfg, root, workers=1)
    return shards, tokenizer.load(shards.folder / "tokenizer"), list(evaluation_batches(shards, cfg))


def texts(token, segment, tok):
    """The text of each segment of a row."""
    return [tok.decode(token[segment == s][1:]) for s in range(1, segment.max() + 1)]


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_training_batches_are_those_of_their_step(tmp_path, kind):
    cfg = config(tmp_path, kind)
    shards = prepare(cfg, tmp_path / "shards", workers=1)
    steps = {}
    for start in (0, 3):
        loader = batches(shards, cfg, start_step=start)
        steps[start] = list(itertools.islice(loader, 5 - start))
        loader.close()
    for one, other in zip(steps[0][3:], steps[3], strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_equal(a, b)


def test_sources_and_targets_stay_together(tmp_path):
    cfg = config(tmp_path, "seq2seq")
    _, tok, found = read(cfg, tmp_path / "shards")
    wanted = {r["source"]: r["target"] for r in records("seq2seq")}
    seen = {}
    for batch in found:
        for row in range(8):
            sources = texts(batch.source.token[row], batch.source.segment[row], tok)
            segment = batch.segment[row]
            targets = [tok.decode(batch.target[row][segment == s]) for s in range(1, segment.max() + 1)]
            assert len(sources) == len(targets)
            seen |= dict(zip(sources, targets, strict=True))
            real = batch.segment[row] > 0
            np.testing.assert_array_equal(batch.weight[row], real)
            np.testing.assert_array_equal(batch.token[row, 1:][real[1:] & (batch.position[row, 1:] > 0)],
                                          batch.target[row, :-1][real[1:] & (batch.position[row, 1:] > 0)])  # fmt: skip
    whole = {s: t for s, t in seen.items() if s in wanted}
    assert len(whole) > 15 and all(wanted[s].startswith(t) for s, t in whole.items())
    assert max(batch.segment.max() for batch in found) > 1  # pairs are packed


def test_pairs_fill_their_rows():
    rng = np.random.default_rng(0)
    source = rng.integers(6, 60, 3_000)
    count = np.stack([source, np.maximum(1, source * 0.8 + rng.normal(0, 3, 3_000)).astype(int)], axis=1)
    row = examples.place_pairs(count, np.array([128, 100]))
    held = np.stack([np.bincount(row, count[:, n]) for n in range(2)], axis=1)
    assert (held <= [128, 100]).all() and np.unique(row).size == row.max() + 1
    assert len(held) <= 1.05 * max(count[:, 0].sum() / 128, count[:, 1].sum() / 100)


@pytest.mark.parametrize(
    "kind, sizes, told",
    [
        ("seq2seq", [48, 4, 6, 12, 90, 61], ["2 of 3 sources are longer than data.objective.source_length",
                                             "1 of 3 targets are longer than data.length"]),
        ("classification", [40, 41, 3], ["1 of 3 examples are longer than data.length"]),
        ("extraction", [9, 90, 8, 7], ["1 of 2 questions are longer than data.objective.question_length"]),
        ("tagging", [90], []),
    ],
)  # fmt: skip
def test_it_is_told_how_many_lose_their_end(tmp_path, kind, sizes, told):
    class Sized(Shards):
        __init__ = object.__init__
        parts = 2 if kind in ("seq2seq", "extraction") else 1
        start = separator = closing = SEPARATOR
        offsets = staticmethod(lambda split: np.cumsum([0, *sizes]))

    cfg = config(tmp_path, kind)
    found = examples.cuts(Sized(), "train", cfg.objective, cfg.length)
    assert [f"{c.count} of {c.texts} {c.what} are longer than {c.field}" for c in found] == told


def test_training_says_which_texts_lose_their_end(tmp_path, caplog):
    shards = prepare(cfg := config(tmp_path, "classification"), tmp_path / "shards", workers=1)
    batches(shards, cfg.model_copy(update={"length": 12})).close()
    assert "examples are longer than data.length and lose their end" in caplog.text


@pytest.mark.parametrize("at", ["first", "last"])
@pytest.mark.parametrize("second", [None, "other"])
def test_each_text_of_a_row_has_its_class(tmp_path, at, second):
    cfg = config(tmp_path, "classification", at=at, second_field=second)
    _, tok, found = read(cfg, tmp_path / "shards")
    number = lambda text: int(text.split(" ")[0])
    record = {number(r["text"]): r for r in records("classification")}
    seen = 0
    for batch in found:
        assert batch.where.shape == (8, 5)
        for row, n in zip(*np.nonzero(batch.weight), strict=True):
            mine = batch.segment[row] == n + 1
            place = np.flatnonzero(mine)
            assert batch.where[row, n] == (place[0] if at == "first" else place[-1])
            parts = np.split(batch.token[row, mine], np.flatnonzero(batch.token[row, mine] == SEPARATOR)[1:])
            said = [tok.decode(part[1:]) for part in parts]
            given = record[number(said[0])]
            assert given["text"].startswith(said[0])
            assert cfg.objective.classes[batch.target[row, n]] == given["label"]
            if second is not None and len(said) == 2:  # a long text leaves no room for the other
                assert given["other"].startswith(said[1])
                np.testing.assert_array_equal(batch.kind[row, mine], np.repeat([0, 1], [len(p) for p in parts]))
            seen += 1
        assert (batch.weight.sum(1) == batch.segment.max(1)).all()
    assert seen > 10


def test_each_word_has_its_tag_at_its_first_token(tmp_path):
    cfg = config(tmp_path, "tagging")
    _, tok, found = read(cfg, tmp_path / "shards")
    seen = 0
    for batch in found:
        for row, place in zip(*np.nonzero(batch.weight), strict=True):
            rest = tok.decode(batch.token[row, place:][batch.segment[row, place:] == batch.segment[row, place]])
            word = rest.lstrip(" ").split(" ")[0]
            wanted = "NUMBER" if word.isdigit() else "CAFE" if word == "café" else "O"
            cut = place + 6 > batch.segment.shape[1]  # the word may go on in another row
            assert cut or cfg.objective.classes[batch.target[row, place]] == wanted
            seen += not cut
    assert seen > 80


def test_an_answer_is_found_in_the_rows_that_hold_it(tmp_path):
    cfg = config(tmp_path, "extraction")
    _, tok, found = read(cfg, tmp_path / "shards")
    answers = {record["text"]: record["answers"]["text"] for record in records("extraction")}
    answered = unanswered = 0
    for batch in found:
        for row in np.flatnonzero(batch.weight[:, 0]):
            first, last = batch.target[row]
            assert batch.token[row, batch.kind[row] == 1][0] == SEPARATOR
            text = tok.decode(batch.token[row, batch.kind[row] == 1])
            if first:
                assert tok.decode(batch.token[row, first : last + 1]).strip() == "treasure"
                assert batch.kind[row, first] == batch.kind[row, last] == 1
                answered += 1
            else:
                unanswered += 1
                whole = next(t for t in answers if text in t)
                assert not answers[whole] or "treasure" not in text
    assert answered > 8 and unanswered > 8


def test_every_token_of_a_long_text_is_in_some_row(tmp_path):
    cfg = config(tmp_path, "extraction")
    shards = prepare(cfg, tmp_path / "shards", workers=1)
    plan = examples.plan(shards, "train", cfg.objective, cfg.length)
    spans = plan.spans(np.arange(plan.rows))
    offsets = np.asarray(shards.offsets("train"), np.int64)
    covered = np.zeros(offsets[-1], bool)
    for start, count in zip(spans.start, spans.count, strict=True):
        covered[start : start + count] = True
    assert covered.all()
    assert (np.bincount(spans.row, spans.count) <= cfg.length).all()
    text = spans.start[2::3]
    again = np.flatnonzero(np.diff(spans.start[::3]) == 0)  # rows that go on with a text: by all but the stride
    assert again.size > 8
    assert (text[again] + spans.count[2::3][again] - text[again + 1] == cfg.objective.stride).all()


@pytest.mark.parametrize(
    "kind, line, said",
    [
        ("seq2seq", {"source": "a"}, "no field 'target', it has 'source': mend the line"),
        ("seq2seq", {"source": "", "target": "b"}, "must be a text that is not empty"),
        ("classification", {"text": "a", "label": "god"}, "'god' is none of data.objective.classes: 'bad', 'fair'"),
        ("classification", ["text"], "a list, but each line must be an object"),
        ("tagging", {"text": ["a", "b"], "tags": ["O"]}, "'text' has 2 and 'tags' has 1, but they must be two lists"),
        ("tagging", {"text": "a b", "tags": ["O", "O"]}, "'text' is 'a b' and 'tags' has 2, but they must be two"),
        ("tagging", {"text": ["a", ""], "tags": ["O", "O"]}, "word 1 of 'text', counted from 0, is ''"),
        ("tagging", {"text": [], "tags": []}, "'text' has 0 and 'tags' has 0, but they must .* not empty"),
        (
            "extraction",
            {"question": "q", "text": "abc", "answers": {"text": ["b"], "answer_start": [2]}},
            "character 2",
        ),
        *(
            (
                "extraction",
                {"question": "q", "text": "abc", "answers": {"text": ["a"], "answer_start": [n]}},
                "counted from 0, of a text of 3: it first stands at 0",
            )
            for n in (-3, "0", None, 0.0, False, 10**30)
        ),
        ("extraction", {"question": "q", "text": "abc", "answers": "b"}, "must be an object with two lists"),
    ],
)
def test_a_wrong_record_is_named_by_its_line(tmp_path, kind, line, said):
    cfg = config(tmp_path, kind, [*records(kind, 3), line])
    with pytest.raises(UserError, match=said) as error:
        prepare(cfg, tmp_path / "shards", workers=1)
    assert "line 4" in str(error.value)


def test_other_classes_are_other_shards_but_another_length_is_not(tmp_path):
    cfg = config(tmp_path, "classification")
    first = prepare(cfg, tmp_path / "shards", workers=1)
    longer = config(tmp_path, "classification", texts=7).model_copy(update={"length": 64})
    assert prepare(longer, tmp_path / "shards", workers=1).folder == first.folder
    turned = config(tmp_path, "classification", classes=["good", "fair", "bad"])
    assert prepare(turned, tmp_path / "shards", workers=1).folder != first.folder


@pytest.mark.parametrize("kind", ["classification", "tagging"])
def test_no_class_has_a_name_twice(tmp_path, kind):
    with pytest.raises(ValueError, match="'good' stands there twice"):
        config(tmp_path, kind, classes=["good", "bad", "good"])


@pytest.mark.parametrize("second", [None, "other"])
def test_a_tokenizer_that_closes_texts_closes_examples_as_the_library_does(tmp_path, second):
    """Labels of a whole text need no tokenizer that keeps all of it."""
    write("wordpiece", tmp_path / "bert")
    theirs = Tokenizer.from_file(str(tmp_path / "bert" / "tokenizer.json"))
    theirs.no_truncation()
    theirs.no_padding()
    cfg = config(tmp_path, "classification", second_field=second)
    cfg = cfg.model_copy(update={"tokenizer": HuggingFaceConfig(path=str(tmp_path / "bert"))})
    given = list(records("classification"))
    wanted = {}
    for record in given:
        of = theirs.encode(record["text"], *([record["other"]] if second else []))
        ids, kinds = of.ids[: cfg.length], of.type_ids[: cfg.length]
        ids[-1] = of.ids[-1]  # where its end is cut off
        wanted[tuple(ids)] = kinds, record["label"]
    seen = 0
    _, _, found = read(cfg, tmp_path / "shards")
    for batch in found:
        for row, n in zip(*np.nonzero(batch.weight), strict=True):
            mine = batch.segment[row] == n + 1
            kinds, label = wanted[tuple(batch.token[row, mine].tolist())]
            assert cfg.objective.classes[batch.target[row, n]] == label
            assert second is None or batch.kind[row, mine].tolist() == kinds
            seen += 1
    assert seen > 10


def test_a_text_is_masked_between_what_opens_and_what_closes_it(tmp_path):
    write("wordpiece", tmp_path / "bert")
    (tmp_path / "text").mkdir()
    for n in range(40):
        (tmp_path / "text" / f"{n}.txt").write_text(TEXTS[n][: 40 + 7 * n], encoding="utf-8")
    cfg = DataConfig(
        source=str(tmp_path / "text"), length=64, batch=4, split=HashSplit(validation=0.5, test=0),
        tokenizer=HuggingFaceConfig(path=str(tmp_path / "bert")), objective=Masked(replaced=0, kept=1),
    )  # fmt: skip
    shards, tok, found = read(cfg, tmp_path / "shards")
    opened = closed = 0
    for batch in found:
        for row in range(4):
            for n in range(1, batch.segment[row].max() + 1):
                token = batch.token[row, batch.segment[row] == n]
                assert (token[1:] != tok.separator).all() and (token[:-1] != tok.closing).all()
                opened, closed = opened + (token[0] == tok.separator), closed + (token[-1] == tok.closing)
        asked = batch.token[np.arange(4)[:, None], batch.where][batch.weight > 0]
        assert not np.isin(asked, [tok.separator, tok.closing]).any()
    assert opened == closed == shards.counts("validation")["documents"] > 10
