import pytest

from jaxlm import hashing
from jaxlm.errors import Damaged

FACTS = {"b": [1, 2.5, None], "a": {"z": "é", "loss": float("inf")}, "step": 3}


def test_what_is_sealed_comes_back():
    assert hashing.unseal(hashing.seal(FACTS), "here") == FACTS


def test_no_changed_byte_of_a_seal_goes_unseen():
    sealed = hashing.seal(FACTS)
    for offset in range(len(sealed)):
        for mask in (1, 32, 255):
            changed = bytearray(sealed)
            changed[offset] ^= mask
            with pytest.raises(Damaged, match="here"):
                hashing.unseal(bytes(changed), "here")


@pytest.mark.parametrize("length", [0, 1, 10, -1])
def test_a_cut_seal_is_damaged(length):
    with pytest.raises(Damaged):
        hashing.unseal(hashing.seal(FACTS)[:length], "here")


@pytest.mark.parametrize(
    "hostile", [b"[]", b"3", b"null", b"\xff\xfe", b"\0" * 100, b"[" * 1_000_000, b'{"xxh3_128": 3}', b"{}"]
)
def test_what_is_no_seal_is_damaged(hostile):
    with pytest.raises(Damaged):
        hashing.unseal(hostile, "here")


def test_each_problem_of_a_folder_is_named(tmp_path):
    for name in ("same", "gone", "short", "long", "changed", "deep/er"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"0123456789")
    files = hashing.hash_folder(tmp_path)
    assert hashing.folder_problems(tmp_path, files) == []
    (tmp_path / "gone").unlink()
    (tmp_path / "short").write_bytes(b"01234")
    (tmp_path / "long").write_bytes(b"01234567890")
    (tmp_path / "changed").write_bytes(b"012345678X")
    (tmp_path / "deep/er").write_bytes(b"X123456789")
    (tmp_path / "new").write_bytes(b"a file more is no damage")
    assert hashing.folder_problems(tmp_path, files) == [
        "changed: hash differs",
        "deep/er: hash differs",
        "gone: missing",
        "long: 11 bytes, 10 were written",
        "short: truncated, 5 of 10 bytes",
    ]


def test_a_file_longer_than_one_block_is_hashed_whole(tmp_path):
    path = tmp_path / "long"
    path.write_bytes(bytes(2 * hashing._BLOCK_BYTES) + b"end")
    before = hashing.file_hash(path)
    path.write_bytes(bytes(2 * hashing._BLOCK_BYTES) + b"enD")
    assert hashing.file_hash(path) != before


def test_writing_atomically_leaves_one_file(tmp_path):
    for content in (b"first", b"second"):
        hashing.write_atomically(tmp_path / "name", content)
    assert [path.name for path in tmp_path.iterdir()] == ["name"]
    assert (tmp_path / "name").read_bytes() == b"second"
