"""What a packed file holds comes back, and what it should not hold does not come into memory."""

import bz2
import gzip
import lzma
import resource

import pytest
import zstandard

from jaxlm.corpus.document import Tally
from jaxlm.corpus.formats.unpack import BLOCK_BYTES, FREE_BYTES, Damage, lines, unpacked, whole
from jaxlm.errors import UserError
from tests.faults import hostile
from tests.rows import crossed

PACKS = {".gz": gzip.compress, ".zst": zstandard.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
TEXT = b"".join(b"line %d\n" % i for i in range(200_000))


def read(path, data: bytes, budget: float = 1.0) -> tuple[list[bytes | None], Tally]:
    path.write_bytes(data)
    tally, found = Tally(budget=budget), []
    with unpacked(path, tally) as stream:
        found.extend(lines(stream))
    return found, tally


@pytest.mark.parametrize("suffix", PACKS)
def test_frames_one_after_the_other_are_one_text(suffix, tmp_path):
    packed = PACKS[suffix](TEXT[:999]) + PACKS[suffix](b"") + PACKS[suffix](TEXT[999:])
    found, tally = read(tmp_path / f"a{suffix}", packed)
    assert b"\n".join(found) + b"\n" == TEXT and not tally.skipped


@pytest.mark.parametrize("count", [100, 10_000])
@pytest.mark.parametrize("suffix", [".gz", ".xz"])
def test_padding_after_a_frame_is_no_damage(suffix, count, tmp_path):
    for end, more in ((b"", []), (PACKS[suffix](b"c"), [b"c"])):
        found, tally = read(tmp_path / f"a{suffix}", PACKS[suffix](b"a\nb\n") + bytes(count) + end)
        assert found == [b"a", b"b", *more] and not tally.skipped
    assert read(tmp_path / "a.gz", bytes(count))[1].skipped == {"damaged or cut short": 1}, "there is no frame"


@pytest.mark.parametrize("suffix", PACKS)
def test_a_file_cut_short_gives_its_whole_lines_and_then_the_reason(suffix, tmp_path):
    for cut in hostile.cuts(PACKS[suffix](TEXT), seed=0, count=5):
        found, tally = read(tmp_path / f"a{suffix}", cut)
        assert found == TEXT.split(b"\n")[: len(found)]
        assert tally.skipped == {"damaged or cut short": 1}
    assert found, "bytes near the end were there"


@pytest.mark.parametrize("suffix, count", crossed(PACKS, [5, 20], fast=lambda suffix, count: count == 5))
def test_a_changed_byte_is_told_or_harmless(suffix, count, tmp_path):
    for changed in hostile.flips(PACKS[suffix](TEXT), seed=1, count=count):
        found, tally = read(tmp_path / f"a{suffix}", changed)
        assert tally.bad_records or suffix == ".zst" or b"\n".join(found) + b"\n" == TEXT


@pytest.mark.parametrize("packing", ["gz", "zst"])
def test_a_zip_bomb_is_refused_before_it_fills_memory(packing, tmp_path):
    path = tmp_path / f"a.jsonl.{packing}"
    path.write_bytes(hostile.zip_bomb(packing, 2 << 30))
    assert path.stat().st_size < 3 << 20
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    message = r"unpacks to over 200 times its size .*bytes from .*remove it"
    with pytest.raises(UserError, match=message), unpacked(path, Tally()) as stream:
        list(lines(stream))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    assert grown < 8 * FREE_BYTES, f"{grown:,} bytes"


def test_a_small_text_may_be_as_regular_as_it_likes(tmp_path):
    found, tally = read(tmp_path / "a.gz", gzip.compress(b"the same line\n" * 1_000_000))
    assert len(found) == 1_000_000 and not tally.skipped


def test_a_line_too_long_is_none_and_its_neighbours_stay(tmp_path):
    (tmp_path / "a").write_bytes(b"a\n" + b"x" * 3 * BLOCK_BYTES + b"\nb\n" + b"y" * 3 * BLOCK_BYTES)
    with unpacked(tmp_path / "a", Tally()) as stream:
        assert list(lines(stream, most=2 * BLOCK_BYTES)) == [b"a", None, b"b", None]
    with unpacked(tmp_path / "a", Tally()) as stream:
        assert [len(line) for line in lines(stream, most=3 * BLOCK_BYTES)] == [1, 3 * BLOCK_BYTES, 1, 3 * BLOCK_BYTES]


def test_lines_are_those_of_python(tmp_path):
    for data in (b"", b"\n", b"\n\n", b"a", b"a\n", b"\na\n\nb", b"\r\n"):
        found, _ = read(tmp_path / "a", data)
        assert found == [line.removesuffix(b"\n") for line in data.splitlines(keepends=True)] or b"\r" in data


def test_a_text_read_whole_has_a_greatest_size(tmp_path):
    (tmp_path / "a").write_bytes(bytes(1 << 20))
    with open(tmp_path / "a", "rb", buffering=0) as file:
        assert len(whole(file, most=1 << 20)) == 1 << 20
    with open(tmp_path / "a", "rb", buffering=0) as file, pytest.raises(Damage, match="longer than 0 MiB"):
        whole(file, most=(1 << 20) - 1)


def test_a_missing_file_is_named(tmp_path):
    with (
        pytest.raises(UserError, match=r"gone\.gz: cannot be read: No such file"),
        unpacked(tmp_path / "gone.gz", Tally()),
    ):
        pass
