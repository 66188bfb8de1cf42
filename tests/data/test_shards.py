"""Shards come back as they were written, and no damage passes unnoticed."""

import itertools
import json
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxlm.data import shards as shards_lib
from jaxlm.data.pack import plan
from jaxlm.data.shards import Shards, Writer, commit
from jaxlm.errors import Damaged, UserError
from tests.faults import hostile_case, hostile_runs

VOCAB, SEPARATOR = 50, 0
DOCUMENTS = {"train": [[1, 2, 3], [4], [], [5, 6]], "validation": [[7, 8]], "test": []}


def build(folder, documents=DOCUMENTS, vocab=VOCAB, separator=SEPARATOR):
    building = folder.with_name(folder.name + ".building")
    counts = {}
    for split, texts in documents.items():
        writer = Writer(building, split, vocab=vocab, separator=separator)
        for tokens in texts:
            writer.add(np.array(tokens, np.int32), 10 * len(tokens))
        counts[split] = writer.close()
    (building / "tokenizer").mkdir()
    (building / "tokenizer" / "model").write_bytes(b"pieces")
    commit(building, folder, facts={"vocab": vocab, "separator": separator, "splits": counts})
    assert not building.exists()
    return Shards.open(folder)


@pytest.fixture
def shards(tmp_path):
    return build(tmp_path / "shards")


def test_the_stream_is_the_documents_with_a_separator_around_each(shards):
    assert shards.tokens("train").tolist() == [0, 1, 2, 3, 0, 4, 0, 0, 5, 6, 0]
    assert shards.offsets("train").tolist() == [0, 4, 6, 7, 10]
    assert shards.source_bytes("train").tolist() == [30, 10, 0, 20]
    assert shards.counts("train") == {"documents": 4, "tokens": 11, "predicted": 10, "bytes": 60}


def test_an_empty_split_is_one_separator(shards):
    assert shards.tokens("test").tolist() == [0]
    assert shards.offsets("test").tolist() == [0]
    assert shards.source_bytes("test").tolist() == []


@settings(max_examples=20)  # each syncs a dozen files to the disk
@given(st.lists(st.lists(st.integers(0, 99_999).filter(lambda t: t != 70_000), max_size=8), max_size=8))
def test_every_document_comes_back_even_with_a_large_vocabulary(tmp_path_factory, documents):
    folder = tmp_path_factory.mktemp("large") / "shards"
    shards = build(folder, {"train": documents}, vocab=100_000, separator=70_000)
    stream, offsets = shards.tokens("train"), shards.offsets("train").tolist()
    assert stream.dtype == np.uint32
    assert [stream[a + 1 : b].tolist() for a, b in itertools.pairwise(offsets)] == documents


@pytest.mark.parametrize("token", [-1, SEPARATOR, VOCAB])
def test_a_token_that_the_stream_cannot_hold_is_refused(tmp_path, token):
    writer = Writer(tmp_path, "train", vocab=VOCAB, separator=SEPARATOR)
    with pytest.raises(ValueError, match="vocab"):
        writer.add(np.array([3, token]), 2)
    assert writer.close()["documents"] == 0


def test_the_same_documents_give_the_same_bytes_and_digest(tmp_path, shards):
    again = build(tmp_path / "again")
    assert again.digest == shards.digest
    assert build(tmp_path / "other", {"train": [[1]]}).digest != shards.digest


def test_a_manifest_names_no_machine(tmp_path, shards):
    assert str(tmp_path) not in (shards.folder / "manifest.json").read_text()


def test_every_flipped_byte_of_every_file_is_found(shards):
    rng = np.random.default_rng(0)
    for path in sorted(p for p in shards.folder.rglob("*") if p.is_file() and p.stat().st_size):
        intact = path.read_bytes()
        for place in rng.integers(0, len(intact), 20):
            flipped = bytearray(intact)
            flipped[place] ^= 1 << rng.integers(8)
            path.write_bytes(flipped)
            try:
                problems = Shards.open(shards.folder).verify()
            except Damaged as error:
                problems = [str(error)]
            assert len(problems) == 1 and path.name in problems[0]
        path.write_bytes(intact)
    assert Shards.open(shards.folder).verify() == []


@pytest.mark.parametrize("name", ["train.tokens", "validation.offsets", "tokenizer/model"])
def test_a_truncated_or_missing_file_is_found_on_opening(shards, name):
    path = shards.folder / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Damaged, match=name):
        Shards.open(shards.folder)
    path.unlink()
    with pytest.raises(Damaged, match=f"{name}: missing"):
        Shards.open(shards.folder)


def test_a_manifest_that_is_not_ours_is_damaged(shards):
    (shards.folder / "manifest.json").write_text('{"format_version": 1}')
    with pytest.raises(Damaged, match="manifest"):
        Shards.open(shards.folder)


def test_a_folder_that_is_no_shards_is_the_users_mistake(tmp_path):
    with pytest.raises(UserError, match="jaxlm prepare"):
        Shards.open(tmp_path)


def test_another_format_is_the_users_mistake_and_names_both_versions(tmp_path, monkeypatch):
    monkeypatch.setattr(shards_lib, "FORMAT_VERSION", 99)
    build(tmp_path / "shards")
    monkeypatch.undo()
    with pytest.raises(UserError, match=r"format_version=99.*reads 1"):
        Shards.open(tmp_path / "shards")


def test_an_unknown_split_names_those_there_are(shards):
    with pytest.raises(UserError, match="train, validation, test"):
        shards.tokens("dev")


def test_commit_keeps_intact_shards_and_replaces_damaged_ones(tmp_path, shards):
    plans = shards.folder / "plans"
    plans.mkdir()
    build(shards.folder)
    assert plans.is_dir()  # kept
    (shards.folder / "train.tokens").write_bytes(b"")
    rebuilt = build(shards.folder)
    assert rebuilt.digest == shards.digest and rebuilt.verify() == []


def test_nothing_is_there_until_it_is_whole(tmp_path, monkeypatch):
    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shards_lib, "_write_manifest", full_disk)
    with pytest.raises(OSError, match="No space"):
        build(tmp_path / "shards")
    assert not (tmp_path / "shards").exists()
    monkeypatch.undo()
    shutil.rmtree(tmp_path / "shards.building")
    assert json.loads((build(tmp_path / "shards").folder / "manifest.json").read_text())["format_version"] == 1


# --- shards from elsewhere: a seal finds accidents, and whoever means harm seals anew


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    build(folder / "shards", {"train": [[5] * (1 + n % 7) for n in range(40)], "validation": [[7, 8]]})
    return hostile_case.Good(folder, folder, folder / "shards", folder, folder)


@pytest.mark.parametrize("name", [*hostile_runs.SHARDS, *hostile_runs.PLANS])
def test_shards_made_to_harm_are_refused_or_packed_anew(name, good, tmp_path):
    folder = tmp_path / "bad" / "in"
    folder.mkdir(parents=True)
    (hostile_runs.SHARDS | hostile_runs.PLANS)[name](folder, good)
    if name in hostile_runs.PLANS:
        spans = plan(Shards.open(folder), "train", "packed", 8, 2).spans(np.arange(3))
        assert (spans.start >= 0).all() and (spans.start + spans.count < 250).all()
        return
    with pytest.raises((Damaged, UserError)) as error:
        found = Shards.open(folder)
        plan(found, "train", "packed", 8, 2)
        if problems := found.verify():
            raise Damaged("; ".join(problems))
    assert "\n" not in str(error.value)
