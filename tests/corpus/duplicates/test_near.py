"""Near duplicates: as brute force finds them, whoever runs the tasks, and never more than the rules allow."""

import errno
import itertools
import json
import lzma
import os
import random
from contextlib import closing
from functools import partial

import numpy as np
import pytest

from jaxlm.corpus import tasks
from jaxlm.corpus.duplicates import near, part, stars
from jaxlm.corpus.duplicates.arrays import Ragged
from jaxlm.corpus.duplicates.candidates import pairs
from jaxlm.corpus.duplicates.config import CapConfig, NearConfig
from jaxlm.corpus.duplicates.part import Row
from jaxlm.corpus.duplicates.sketch import bands
from jaxlm.corpus.executor import Processes
from jaxlm.errors import UserError
from tests.corpus.duplicates.near_cases import VOCABULARY, certain, corpus, cut, edited, jaccard, shingle_set, silent
from tests.faults import injector

ANY = CapConfig(share=1)


def found(rows, size, folder, cfg, **more):
    """{removed id: (kept id, Jaccard)}."""
    parts = cut(rows, size)
    removals = near.find(parts, folder, cfg, **more)
    evidence = [one for number in range(len(parts)) for one in removals.evidence(number)]
    return {one.id: (one.kept_id, one.jaccard) for one in evidence}


def test_what_goes_is_what_brute_force_says(tmp_path):
    rows = corpus(originals=60, copies=5)
    cfg = certain(cap=ANY)
    got = found(rows, 37, tmp_path, cfg)
    sets = {row.id: shingle_set(row.text) for row in rows}
    order = sorted(rows, key=lambda row: (row.priority, -len(row.text)))
    for ties in itertools.groupby(order, key=lambda row: (row.priority, len(row.text))):
        alike = [row.id for row in ties[1]]  # which of them comes first is a hash's affair
        assert all(jaccard(sets[a], sets[b]) < 0.75 or {a, b} & got.keys() for a, b in itertools.combinations(alike, 2))
    position = {row.id: (row.priority, -len(row.text)) for row in rows}
    for row in rows:
        near_kept = {
            other.id: jaccard(sets[row.id], sets[other.id])
            for other in rows
            if other.id != row.id and other.id not in got and position[other.id] <= position[row.id]
        }
        best = max(near_kept.values(), default=0.0)
        if row.id in got:
            kept, score = got[row.id]
            assert score == pytest.approx(jaccard(sets[row.id], sets[kept]), abs=1e-12)
            assert kept not in got
            assert score == pytest.approx(best, abs=1e-12) and score >= 0.75
        else:
            earlier = [s for other, s in near_kept.items() if position[other] < position[row.id]]
            assert max(earlier, default=0.0) < 0.75
    assert 50 < len(got) < len(rows) - 50


def test_parts_their_order_partitions_and_blocks_change_nothing(tmp_path, monkeypatch):
    rows = corpus(originals=80, copies=4, seed=1)
    cfg = NearConfig(cap=ANY)
    first = found(rows, 1_000, tmp_path / "whole", cfg)
    assert len(first) > 50
    for number, (size, memory) in enumerate([(5, 1 << 29), (64, 50_000), (1_000, 20_000)]):
        monkeypatch.setattr(stars, "_AT_ONCE", (10, 100, 1)[number])  # pairs, so that blocks end between those of one
        shuffled = random.Random(number).sample(rows, len(rows))
        small = cfg.model_copy(update={"memory": memory})  # below what a config may ask: 10 and 25 partitions
        assert found(shuffled, size, tmp_path / str(number), small) == first


def test_keys_sort_as_the_order_of_keeping_does(tmp_path):
    rng = random.Random(0)
    rows = [Row(rng.choice("ab"), "x" * rng.choice([0, 1, 255, 256]), "s", rng.randint(-2, 2)) for _ in range(300)]
    for number, some in enumerate(cut(rows, 100)):
        part.write(part.part_folder(tmp_path, number), some)
    documents = part.Documents(tmp_path, 3)
    places = np.concatenate([part.places(number, np.arange(100)) for number in range(3)])
    assert np.argsort(documents.keys(places)).tolist() == documents.order(places, after=[places]).tolist()


def test_processes_write_the_same_bytes(tmp_path):
    rows, cfg = corpus(originals=40, copies=4, seed=2), NearConfig(cap=ANY)
    found(rows, 30, tmp_path / "one", cfg)
    with closing(Processes(2)) as engine:
        found(rows, 30, tmp_path / "two", cfg, run=partial(tasks.run, engine=engine, progress=silent))
    names = sorted(p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*") if p.is_file())
    assert names == sorted(p.relative_to(tmp_path / "two") for p in (tmp_path / "two").rglob("*") if p.is_file())
    assert [(tmp_path / "one" / n).read_bytes() for n in names] == [(tmp_path / "two" / n).read_bytes() for n in names]


def test_a_neighbour_of_one_that_goes_stays(tmp_path):
    words = VOCABULARY[:104]
    first, second, third = words[:104], ["x"] * 9 + words[9:103], ["x"] * 9 + words[9:93] + ["y"] * 9
    rows = [Row(name, " ".join(text), "s") for name, text in zip("abc", (first, second, third), strict=True)]
    a, b, c = (shingle_set(row.text) for row in rows)
    assert jaccard(a, b) >= 0.75 and jaccard(b, c) >= 0.75 > jaccard(a, c)
    assert found(rows, 2, tmp_path, certain()) == {"b": ("a", pytest.approx(jaccard(a, b)))}


def test_the_evidence_is_the_most_similar_that_stays(tmp_path):
    words = VOCABULARY[:104]
    middle = ["x"] * 6 + words[6:]
    far, close = words, ["x"] * 6 + words[6:90] + ["y"] * 14
    for number, (first, second) in enumerate([(far, close), (close, far)]):
        rows = [Row("a", " ".join(first), "s"), Row("b", " ".join(second), "s"), Row("m", " ".join(middle), "s", 1)]
        a, b, m = (shingle_set(row.text) for row in rows)
        assert jaccard(a, b) < 0.75 < min(jaccard(a, m), jaccard(b, m))
        best = max(("a", jaccard(a, m)), ("b", jaccard(b, m)), key=lambda one: one[1])
        assert found(rows, 2, tmp_path / str(number), certain()) == {"m": (best[0], pytest.approx(best[1]))}


def test_the_better_source_then_the_longer_text_stays(tmp_path):
    text = " ".join(VOCABULARY[:40])
    rows = [Row("short", text, "web", 1), Row("long", f"{text} more", "web", 1), Row("best", text[:-4], "books", 0)]
    assert {gone: kept for gone, (kept, _) in found(rows, 1, tmp_path, certain()).items()} == {
        "short": "best",
        "long": "best",
    }
    assert found(rows[:2], 1, tmp_path / "again", certain()).keys() == {"short"}


def test_equal_documents_of_one_id_leave_one(tmp_path):
    rows = [Row("same", "one text that is there three times over", "s")] * 3
    removals = near.find([rows[:1], rows[1:]], tmp_path, NearConfig())
    assert [removals.of(number)["place"].tolist() for number in (0, 1)] == [[], [1 << 32, (1 << 32) + 1]]


def test_texts_without_words_and_empty_parts_are_no_duplicates(tmp_path):
    parts = [[], [Row("a", "", "s"), Row("b", "", "s"), Row("c", "...", "s"), Row("d", "!", "s")], []]
    assert found([row for rows in parts for row in rows], 2, tmp_path, NearConfig()) == {}
    assert found([], 2, tmp_path / "none", NearConfig()) == {}


def test_a_source_that_would_lose_too_much_stops_the_run(tmp_path):
    rng = random.Random(0)
    words = rng.choices("abcdefghij", k=60)
    rows = [Row(f"forum-{n}", " ".join(words), "forum") for n in range(150)]
    rows += [Row(row.id, row.text, "books") for row in corpus(originals=30, copies=0)]
    with pytest.raises(
        UserError, match=r"source 'forum': 149 of 150 documents .* 0\.99, above duplicates\.near\.cap\.share=0\.5"
    ) as error:
        found(rows, 40, tmp_path, NearConfig())
    assert "forum-" in str(error.value) and "raise duplicates.near.cap.share" in str(error.value)
    assert len(found(rows, 40, tmp_path, NearConfig(cap=ANY))) == 149
    assert len(found(rows, 40, tmp_path, NearConfig(cap=CapConfig(documents=151)))) == 149


@pytest.mark.parametrize("similarity", [0.5, 0.7, 0.8, 0.9])
def test_bands_propose_as_the_curve_says(similarity):
    cfg, trials, size = NearConfig(), 600, 300
    rng = np.random.default_rng(0)
    shared = round(2 * size * similarity / (1 + similarity))
    true = shared / (2 * size - shared)
    pool = rng.integers(0, 2**64, (trials, 2 * size - shared), dtype=np.uint64)
    rows = np.stack((pool[:, :size], pool[:, -size:]), axis=1).reshape(2 * trials, size)
    keys, owners = bands(Ragged(rows.ravel(), np.arange(0, rows.size + 1, size)), cfg)
    ((later, earlier),) = pairs(keys, cfg.representatives, at_once=10**9)
    proposed = {(min(a, b), max(a, b)) for a, b in zip(owners[later].tolist(), owners[earlier].tolist(), strict=True)}
    assert all(a // 2 == b // 2 for a, b in proposed)  # strangers share no band
    expected = 1 - (1 - true**cfg.rows) ** cfg.bands
    assert abs(len(proposed) / trials - expected) < 4 * (expected * (1 - expected) / trials) ** 0.5


def test_the_default_finds_95_of_100_pairs_from_080_on():
    cfg = NearConfig()
    assert 1 - (1 - 0.8**cfg.rows) ** cfg.bands > 0.95
    assert 0.7 < cfg.threshold < 0.8


def test_a_large_bucket_is_compared_with_the_first_alone():
    for at_once in (1, 10, 1_000):
        later, earlier = np.concatenate(list(pairs(np.zeros(100, np.uint64), 3, at_once)), axis=1)
        assert len(later) == 1 + 2 + 97 * 3
        assert earlier.max() == 2
        assert (later > earlier).all()


def test_a_large_cluster_leaves_one(tmp_path):
    rng, words = random.Random(3), VOCABULARY[:300]
    rows = [Row(str(n), " ".join(edited(words, 0.001, rng)), "s") for n in range(200)]
    got = found(rows, 64, tmp_path, NearConfig(cap=ANY, representatives=2))
    assert len(got) == 199


def gutenberg(path):
    text = lzma.decompress(path.read_bytes()).decode("latin-1").replace("\r\n", "\n")
    text = text.split("*** START OF")[-1].split("*** END OF")[0]  # the licence is a duplicate by right
    paragraphs = [" ".join(p.split()) for p in text.split("\n\n")]
    return [Row(f"{path.name}:{n}", p, path.name) for n, p in enumerate(paragraphs) if len(p.split()) >= 30]


def test_four_editions_of_a_book_leave_about_one(real_data, tmp_path):
    editions = [gutenberg(path) for path in sorted((real_data / "near-duplicates-gutenberg").glob("*.xz"))]
    other = gutenberg(real_data / "gutenberg-en" / "frankenstein_pg84.txt.xz")
    rows = [row for edition in editions for row in edition]
    got = found([*rows, *other], 500, tmp_path, NearConfig(cap=ANY))
    # 1.11 when it was written: the editions differ in where paragraphs end, and in some whole ones
    assert len(rows) - sum(row.id in got for row in rows) < 1.15 * max(map(len, editions))
    assert sum(row.id in got for row in other) < 0.01 * len(other)
    sets = {row.id: shingle_set(" ".join("".join(c for c in row.text.lower() if c.isalnum() or c == " ").split()))
            for row in rows}  # fmt: skip
    for gone, (kept, score) in got.items():
        assert score >= 0.75
        if gone in sets and kept in sets:
            assert jaccard(sets[gone], sets[kept]) > 0.7  # by rules of our own, which know no number


def test_chinese_poems_are_told_apart_and_copies_found(real_data, tmp_path):
    poems = json.loads((real_data / "chinese-classics" / "tangshisanbaishou.json").read_text())
    texts = sorted({t for t in strings(poems) if len(t) >= 40})
    assert len(texts) > 50
    rng = random.Random(0)
    rows = [Row(f"poem-{n}", text, "tang") for n, text in enumerate(texts)]
    copies = [Row(f"copy-{n}", one_character_off(text, rng), "copy", 1) for n, text in enumerate(texts)]
    got = found([*rows, *copies], 100, tmp_path, NearConfig(cap=ANY))
    assert not any(gone.startswith("poem") for gone in got)
    assert all(kept == gone.replace("copy", "poem") for gone, (kept, _) in got.items())
    long = [n for n, text in enumerate(texts) if len(text) >= 80]  # there 1 edit of 6 shingles leaves over 0.8
    assert sum(f"copy-{n}" in got for n in long) > 0.95 * len(long) > 0


def strings(value) -> list[str]:
    """Every text in JSON; lines of a poem as one."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and all(isinstance(v, str) for v in value):
        return ["".join(value)]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [text for v in inner for text in strings(v)]


def one_character_off(text: str, rng: random.Random) -> str:
    place = rng.randrange(len(text))
    return f"{text[:place]}☯字{text[place + 1 :]}"


def test_a_disk_with_no_room_for_stars_is_an_error_before_they_are_mapped(tmp_path, monkeypatch):
    found(corpus(originals=6, copies=2), 99, tmp_path, NearConfig(cap=ANY))
    monkeypatch.setattr(stars, "offsets_of", lambda _: np.array([0, 1 << 20]))  # as of so many documents
    with injector.small_disk(tmp_path / "disk", 1 << 16), pytest.raises(OSError) as error:
        stars.stars(tmp_path / "disk", 1, tmp_path)
    assert error.value.errno == errno.ENOSPC
    monkeypatch.delattr(os, "posix_fallocate", raising=False)  # as on macOS
    with injector.small_disk(tmp_path / "disk", 1 << 16), pytest.raises(OSError) as error:
        stars.stars(tmp_path / "disk", 1, tmp_path)
    assert error.value.errno == errno.ENOSPC
    assert stars.stars(tmp_path, 1, tmp_path) == {}
    assert (tmp_path / "goes").stat().st_size == 1 << 20
