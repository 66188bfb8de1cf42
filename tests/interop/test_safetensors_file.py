"""Weights come back to the last bit, and no header is believed that does not describe its file to the last byte."""

import json
import struct

import ml_dtypes
import numpy as np
import pytest
from safetensors import SafetensorError
from safetensors.numpy import load_file

from jaxlm.errors import JaxlmError, UserError
from jaxlm.interop import safetensors_file
from jaxlm.interop.safetensors_file import INDEX, find, header, write

RNG = np.random.default_rng(0)
TENSORS = {
    "a": RNG.normal(size=(3, 4)).astype(np.float32),
    "b.c": np.array([np.nan, np.inf, -np.inf, -0.0, 1e-45], np.float32),
    "scalar": np.array(7.0, np.float32),
    "empty": np.zeros((0, 5), np.float32),
}


def put(folder, tensors=None, **options):
    tensors = TENSORS if tensors is None else tensors
    folder.mkdir(exist_ok=True)
    write(folder, {name: t.shape for name, t in tensors.items()}, tensors.__getitem__, **options)
    return folder


def bits(array):
    return array.view(np.uint32).tolist()


@pytest.mark.parametrize("shard_bytes", [10**9, 50, 1])
def test_tensors_come_back_to_the_last_bit_from_one_file_or_many(tmp_path, shard_bytes):
    put(tmp_path, shard_bytes=shard_bytes)
    assert len(list(tmp_path.glob("*.safetensors"))) == {10**9: 1, 50: 2, 1: 4}[shard_bytes]
    found = find(tmp_path)
    assert found.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert bits(found[name].read()) == bits(tensor) and found[name].shape == tensor.shape


def test_files_are_those_of_the_library_and_say_so(tmp_path):
    put(tmp_path, shard_bytes=50)
    index = json.loads((tmp_path / INDEX).read_text())
    assert index["metadata"]["total_size"] == sum(t.nbytes for t in TENSORS.values())
    for name, file in index["weight_map"].items():
        np.testing.assert_array_equal(load_file(tmp_path / file)[name], TENSORS[name])
        assert b'"__metadata__":{"format":"pt"}' in (tmp_path / file).read_bytes()
        assert (tmp_path / file).stat().st_mode & 0o777 == tmp_path.stat().st_mode & 0o666


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_smaller_dtype_rounds_to_the_nearest_and_is_read_without_rounding(tmp_path, dtype):
    values = {"x": np.array([1.0, 1 + 2**-9, -3.14159, 65_504.0, 1e-8], np.float32)}
    found = find(put(tmp_path, values, dtype=dtype))["x"]
    kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else np.float16
    assert found.dtype == {"bfloat16": "BF16", "float16": "F16"}[dtype]
    np.testing.assert_array_equal(found.read(), values["x"].astype(kind).astype(np.float32))


def test_a_number_too_large_for_a_dtype_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"x has values up to 1e\+05, too large for float16"):
        put(tmp_path, {"x": np.array([1e5], np.float32)}, dtype="float16")


def test_a_disk_that_is_full_is_one_line(tmp_path, monkeypatch):
    def full(*_, **__):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(safetensors_file, "save_file", full)
    with pytest.raises(JaxlmError, match=r"model.safetensors was not written: .*No space left"):
        put(tmp_path)


def test_every_half_precision_number_is_read_exactly(tmp_path):
    for dtype, kind in (("bfloat16", ml_dtypes.bfloat16), ("float16", np.float16)):
        with np.errstate(invalid="ignore"):  # some are no numbers
            every = np.arange(2**16, dtype=np.uint16).view(kind).astype(np.float32)
        np.testing.assert_array_equal(find(put(tmp_path / dtype, {"x": every}, dtype=dtype))["x"].read(), every)


# --- headers


def file_of(told, data: bytes = b"", length: int | None = None) -> bytes:
    text = told if isinstance(told, bytes) else json.dumps(told).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def one(dtype="F32", shape=(2,), offsets=(0, 8), **more):
    return {"x": {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets), **more}}


def two(first=(0, 8), second=(8, 16)):
    return {**one(offsets=first), "y": one(offsets=second)["x"]}


BAD = {
    "nothing": (b"", "truncated"),
    "half a length": (b"\x08\0\0", "truncated"),
    "a header of 40 MB and one byte": (file_of(b"{}", length=40_000_001), "40,000,001 bytes is more than"),
    "a header of 2**64 - 1": (file_of(b"{}", length=2**64 - 1), "more than the 40,000,000 allowed"),
    "a header beyond its end": (file_of(b"{}", length=99), "truncated"),
    "no json": (file_of(b"garbage!"), "not valid JSON"),
    "no utf-8": (file_of(b'{"\xff": 1}'), "not valid JSON"),
    "a list": (file_of([1]), "where an object should be"),
    "too deep": (file_of(b'{"x":' * 50_000), "nested too deeply|not valid JSON"),
    "a name twice": (file_of(b'{"x": 1, "x": 2}'), "'x' occurs twice"),
    "numbers cut off": (file_of(one(), b"1234567"), "is truncated"),
    "numbers left over": (file_of(one(), b"123456789"), "is too long"),
    "an overlap": (file_of(two(second=(4, 12)), b"0" * 12), "'y' overlaps the one before it"),
    "the same place twice": (file_of(two(second=(0, 8)), b"0" * 8), "overlaps"),
    "a gap": (file_of(two(second=(12, 20)), b"0" * 20), "'y' leaves a gap before it"),
    "a gap at the beginning": (file_of(one(offsets=(8, 16)), b"0" * 16), "'x' leaves a gap"),
    "backwards": (file_of(one(offsets=(8, 0)), b"0" * 8), "has -8"),
    "a size that is not its shape's": (file_of(one(shape=[3]), b"0" * 8), "F32.3., 12 bytes, but has 8"),
    "a shape of 2**100": (file_of(one(shape=[2**50, 2**50]), b"0" * 8), "but has 8"),
    "a number of 4,000 digits": (file_of(one(shape=[10**4_000])), "not described by dtype, shape"),
    "a thousand dimensions": (file_of(one(shape=[2**62] * 1_000)), "not described by dtype, shape"),
    "a name as long as a book": (file_of({"x" * 100_000: 3}), "'x{119} is not described"),
    "more tensors than any model has": (file_of({f"{n}": 0 for n in range(200_001)}), "200,001 tensors are more than"),
    "a negative shape": (file_of(one(shape=[-2, -1]), b"0" * 8), "not described by dtype, shape"),
    "a shape of truths": (file_of(one(shape=[True, 2]), b"0" * 8), "not described by dtype, shape"),
    "a shape of fractions": (file_of(one(shape=[2.0]), b"0" * 8), "not described by dtype, shape"),
    "three offsets": (file_of(one(offsets=(0, 4, 8)), b"0" * 8), "not described by dtype, shape"),
    "an unknown key": (file_of(one(extra=1), b"0" * 8), "not described by dtype, shape"),
    "an entry that is none": (file_of({"x": 3}), "not described by dtype, shape"),
    "an unknown dtype": (file_of(one(dtype="F128"), b"0" * 8), "unknown dtype 'F128'"),
    "a dtype that is none": (file_of(one(dtype=None), b"0" * 8), "not described by dtype, shape"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_header_that_does_not_describe_its_file_is_refused(tmp_path, name):
    content, words = BAD[name]
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=words) as error:
        find(tmp_path)
    assert "\n" not in str(error.value) and "model.safetensors" in str(error.value)


def test_a_huge_header_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "model.safetensors"
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", 40_000_001))
        file.truncate(200_000_000)  # a hole: no disk
    with pytest.raises(UserError, match="40,000,001"):
        header(path)


def test_no_prefix_of_a_file_passes(tmp_path):
    path = put(tmp_path) / "model.safetensors"
    whole = path.read_bytes()
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        with pytest.raises(UserError):
            header(path)


def test_a_flip_in_a_header_is_seen_or_describes_something_else(tmp_path):
    path = put(tmp_path) / "model.safetensors"
    whole, good = path.read_bytes(), header(path)
    places = [*range(8), *range(whole.index(b'"a":'), 8 + struct.unpack("<Q", whole[:8])[0])]
    random = np.random.default_rng(0)
    for _ in range(300):
        changed = bytearray(whole)
        changed[random.choice(places)] ^= 1 << random.integers(8)
        path.write_bytes(changed)
        try:
            assert header(path) != good
        except UserError as error:
            assert "\n" not in str(error)


def test_numbers_that_are_not_finite_are_no_damage(tmp_path):
    assert np.isnan(find(put(tmp_path))["b.c"].read()).sum() == 1


# --- folders


def test_an_index_that_points_outside_its_folder_is_refused(tmp_path):
    put(tmp_path / "secret")
    inside = put(tmp_path / "model", shard_bytes=1)
    index = json.loads((inside / INDEX).read_text())
    for name in (
        "../secret/model.safetensors",
        str(tmp_path / "secret/model.safetensors"),
        "..",
        "a\\b.safetensors",
        "x",
    ):
        (inside / INDEX).write_text(json.dumps({"weight_map": index["weight_map"] | {"a": name}}))
        with pytest.raises(UserError, match=r"a shard is a .safetensors file in the same folder"):
            find(inside)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda m: m.pop("scalar"), "holds 'scalar', which model.safetensors.index.json looks for nowhere"),
        (lambda m: m.update(z=m["a"]), "lacks 'z', which"),
        (lambda m: m.update(scalar=m["a"]), "lacks 'scalar'|holds 'scalar', which .* looks for in model-0000"),
        (lambda m: m.update(a=3), "has no weight_map"),
    ],
    ids=["extra", "missing", "elsewhere", "no name"],
)
def test_an_index_that_does_not_say_what_its_shards_hold_is_refused(tmp_path, change, words):
    put(tmp_path, shard_bytes=50)
    index = json.loads((tmp_path / INDEX).read_text())
    change(index["weight_map"])
    (tmp_path / INDEX).write_text(json.dumps(index))
    with pytest.raises(UserError, match=words):
        find(tmp_path)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"weight_map": []}'])
def test_an_index_that_is_none_is_refused(tmp_path, content):
    (tmp_path / INDEX).write_bytes(content)
    with pytest.raises(UserError, match=INDEX):
        find(tmp_path)


def test_a_shard_that_is_not_there_is_named(tmp_path):
    put(tmp_path, shard_bytes=50)
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(UserError, match=r"names model-00002-of-00002.safetensors, which is not there"):
        find(tmp_path)


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt", "tf_model.h5", "x.ckpt"]
)
def test_a_pickle_is_never_opened_and_the_mend_is_told(tmp_path, name):
    (tmp_path / name).write_bytes(b"cos\nsystem\n(S'touch /tmp/owned'\ntR.")
    with pytest.raises(UserError, match=rf"{name} only: .*can run any program.*safe_serialization=True"):
        find(tmp_path)


def test_a_folder_without_weights_says_what_it_should_have(tmp_path):
    with pytest.raises(UserError, match=r"has no model.safetensors and no model.safetensors.index.json"):
        find(tmp_path)


def test_a_file_that_became_shorter_after_the_look_is_one_line(tmp_path):
    found = find(put(tmp_path))
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match="cannot be read"):
        found["a"].read()
    assert safetensors_file.HEADER_LIMIT == 40_000_000


@pytest.mark.parametrize("name", ["x" * 300 + ".safetensors", "a\\b.safetensors", "weights.bin", "..", 3])
def test_an_index_names_files_beside_it(tmp_path, name):
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": {"x": name}}))
    with pytest.raises(UserError, match=r"a shard is a \.safetensors file|no weight_map from names to files") as error:
        find(tmp_path)
    assert len(str(error.value)) < 400 + len(str(tmp_path))
