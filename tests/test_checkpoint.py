import gc
import json
import logging
import math
from types import SimpleNamespace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxlm.checkpoint import Checkpoints
from jaxlm.checkpoint_folder import MANIFEST, CheckpointConfig, CheckpointFolder
from jaxlm.errors import Damaged, JaxlmError, UserError
from tests.faults import hostile_case, hostile_runs, injector
from tests.rows import short

META = {"jaxlm": "0", "data": {"step": 7, "seeds": [1, 2]}}


class State(NamedTuple):
    params: dict
    opt: object
    step: jax.Array


def make_state(seed=0):
    """What training has: nested dicts, an optax state, float32, bfloat16, integers, a scalar."""
    keys = jax.random.split(jax.random.key(seed), 3)
    params = {
        "embedding": jax.random.normal(keys[0], (16, 8)),
        "blocks": [{"w": jax.random.normal(key, (8, 16), jnp.bfloat16)} for key in keys[1:]],
    }
    opt = optax.adamw(1e-3).init(params)
    opt = jax.tree.map(lambda x: x + jnp.asarray(seed + 1, x.dtype), opt)
    return State(params, opt, jnp.int32(seed))


def mesh(names, shape):
    return jax.make_mesh(
        shape, names, axis_types=(AxisType.Auto,) * len(shape), devices=jax.devices()[: int(np.prod(shape))]
    )


def shardings(over):
    """Matrices are cut along their first dimension over the first mesh axis, and so on; others are copied."""
    names = over.axis_names
    return jax.tree.map(
        lambda leaf: NamedSharding(over, PartitionSpec(*names) if leaf.ndim == 2 else PartitionSpec()),
        jax.eval_shape(make_state),
    )


def abstract(shard=None):
    like = jax.eval_shape(make_state)
    if shard is None:
        return like
    return jax.tree.map(lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s), like, shard)


def assert_same_bits(got, wanted):
    assert jax.tree.structure(got) == jax.tree.structure(wanted)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def save_steps(folder, *steps, **options):
    with Checkpoints(folder, CheckpointConfig(**options)) as checkpoints:
        for step in steps:
            checkpoints.save(step, make_state(step), meta={"step": step})


def reader(folder):
    return Checkpoints(folder, CheckpointConfig(), read_only=True)


# --- what is saved comes back


def test_a_state_comes_back_with_the_same_bits(tmp_path):
    with Checkpoints(tmp_path, CheckpointConfig()) as checkpoints:
        checkpoints.save(3, make_state(3), meta=META)
        step, state, meta = checkpoints.restore(abstract())
    assert (step, meta) == (3, META)
    assert_same_bits(state, make_state(3))


@pytest.mark.parametrize(
    ("names", "shape"),
    [(("data",), (1,)), (("fsdp",), (4,)), (("fsdp",), (8,)), (("tensor", "fsdp"), (4, 2))],
    ids=["1 device", "4 devices", "8 devices", "another mesh"],
)
def test_a_state_saved_on_8_devices_comes_back_on_any_mesh(tmp_path, names, shape):
    saved = jax.device_put(make_state(5), shardings(mesh(("fsdp", "tensor"), (2, 4))))
    with Checkpoints(tmp_path, CheckpointConfig()) as checkpoints:
        checkpoints.save(1, saved, meta={})
    wanted = shardings(mesh(names, shape))
    _, state, _ = reader(tmp_path).restore(abstract(wanted))
    assert_same_bits(state, make_state(5))
    jax.tree.map(lambda leaf, shard: np.testing.assert_equal(leaf.sharding, shard), state, wanted)


def test_a_state_may_be_donated_while_it_is_saved(tmp_path):
    step = jax.jit(lambda tree: jax.tree.map(lambda x: x * 2 + 1, tree), donate_argnums=0)
    state = {"w": [jnp.full((1 << 20,), float(i)) for i in range(8)]}
    with Checkpoints(tmp_path, CheckpointConfig(latest=9)) as checkpoints:
        for n in range(3):
            checkpoints.save(n, state, meta={})
            for _ in range(10):
                state = step(state)
    for n in range(3):
        _, arrays, _ = reader(tmp_path).read(n, prefix="w/")
        for i in range(8):
            expected = np.float32(i)
            for _ in range(10 * n):
                expected = np.float32(expected * 2 + 1)
            np.testing.assert_array_equal(arrays[f"w/{i}"], expected)


def test_a_save_is_finished_when_it_returns_unless_asynchronous(tmp_path):
    with Checkpoints(tmp_path, CheckpointConfig(asynchronous=False)) as checkpoints:
        checkpoints.save(1, make_state(), meta={})
        assert checkpoints.steps() == [1]


def test_read_gives_one_part_on_the_host(tmp_path):
    save_steps(tmp_path, 4)
    step, arrays, meta = reader(tmp_path).read()
    assert (step, meta) == (4, {"step": 4})
    assert sorted(arrays) == ["params/blocks/0/w", "params/blocks/1/w", "params/embedding"]
    assert all(type(array) is np.ndarray for array in arrays.values())
    params = make_state(4).params
    assert_same_bits(arrays["params/embedding"], np.asarray(params["embedding"]))
    assert_same_bits(arrays["params/blocks/1/w"], np.asarray(params["blocks"][1]["w"]))
    with pytest.raises(UserError, match="'ema/'"):
        reader(tmp_path).read(prefix="ema/")


def test_names_are_plain_and_no_class_of_a_library_is_stored(tmp_path):
    save_steps(tmp_path, 4)
    manifest = json.loads((tmp_path / "4" / MANIFEST).read_text())
    assert manifest["arrays"]["opt/0/mu/blocks/0/w"] == "bfloat16[8,16]"
    written = b"".join(path.read_bytes() for path in injector.files_below(tmp_path))
    assert not any(word in written for word in (b"State", b"optax", b"pickle"))


def test_the_steps_kept_are_latest_best_and_every(tmp_path):
    losses = {10: 5.0, 20: 3.0, 30: 1.0, 40: 2.0, 50: 4.0, 60: 4.0, 70: 6.0}
    for part in ([10, 20, 30, 40], [50, 60, 70]):  # the best is known after a restart too
        with Checkpoints(tmp_path, CheckpointConfig(latest=2, best=1, every=20)) as checkpoints:
            for step in part:
                checkpoints.save(step, {"w": jnp.ones(2)}, meta={}, metrics={"eval/loss": losses[step]})
    assert reader(tmp_path).steps() == [20, 30, 40, 60, 70]
    assert reader(tmp_path).latest() == 70
    assert sorted(path.name for path in tmp_path.iterdir()) == ["20", "30", "40", "60", "70"]


# --- mistakes


def test_names_shapes_and_dtypes_that_differ_are_refused(tmp_path):
    save_steps(tmp_path, 1)
    good = abstract()
    embedding = good.params["embedding"]
    others = {
        "dtype": good.params | {"embedding": embedding.update(dtype=jnp.bfloat16)},
        "shape": good.params | {"embedding": embedding.update(shape=(17, 8))},
        "extra": good.params | {"head": embedding},
        "missing": {"blocks": good.params["blocks"]},
    }
    messages = {}
    for name, params in others.items():
        with pytest.raises(UserError) as error:
            reader(tmp_path).restore(good._replace(params=params))
        messages[name] = str(error.value)
    assert "params/embedding: float32[16,8] is saved, bfloat16[16,8] is wanted" in messages["dtype"]
    assert "params/embedding: float32[16,8] is saved, float32[17,8] is wanted" in messages["shape"]
    assert "params/head: float32[16,8] is wanted, but not saved" in messages["extra"]
    assert "params/embedding: float32[16,8] is saved, but not wanted" in messages["missing"]


def test_a_step_that_is_not_newer_is_refused(tmp_path):
    save_steps(tmp_path, 5)
    with Checkpoints(tmp_path, CheckpointConfig()) as checkpoints:
        for step in (5, 4):
            with pytest.raises(UserError, match=f"step {step} is not after step 5"):
                checkpoints.save(step, make_state(), meta={})


def test_what_cannot_be_saved_fails_at_once_and_leaves_nothing(tmp_path):
    with Checkpoints(tmp_path, CheckpointConfig()) as checkpoints:
        with pytest.raises(TypeError, match="key"):
            checkpoints.save(1, {"key": jax.random.key(0)}, meta={})
        with pytest.raises(TypeError, match="JSON"):
            checkpoints.save(1, {"w": jnp.ones(1)}, meta={"array": jnp.ones(1)})
        with pytest.raises(JaxlmError, match="zero size"):
            checkpoints.save(1, {"w": jnp.ones((0, 3))}, meta={})
    assert list(tmp_path.iterdir()) == []


def test_a_step_that_is_not_there_is_a_mistake_and_no_damage(tmp_path):
    with pytest.raises(UserError, match="no checkpoint; steps there: none"):
        reader(tmp_path / "nowhere").restore(abstract())
    save_steps(tmp_path, 1, 2)
    with pytest.raises(UserError, match=r"no checkpoint step 3; steps there: \[1, 2\]"):
        reader(tmp_path).read(3)


# --- damage


@pytest.mark.parametrize("flips", [30, pytest.param(200, marks=pytest.mark.slow)])
def test_none_of_the_flipped_bytes_is_silent(tmp_path, caplog, flips):
    save_steps(tmp_path, 10, 20)
    files = injector.files_below(tmp_path / "20")
    assert 8 < len(files) <= flips
    checkpoints, older, wanted = reader(tmp_path), make_state(10), abstract()
    for seed in range(flips):
        path = files[seed % len(files)]
        caplog.clear()
        with injector.mended_after(path), caplog.at_level(logging.WARNING, "jaxlm"):
            injector.flip_byte(path, seed)
            step, state, meta = checkpoints.restore(wanted)
        assert (step, meta) == (10, {"step": 10}), (seed, path)
        assert_same_bits(state, older)
        assert f"{tmp_path}/20 is damaged" in caplog.text
        assert str(path.relative_to(tmp_path / "20")) in caplog.text
    assert checkpoints.restore(wanted)[0] == 20


def test_each_missing_and_each_truncated_file_is_named(tmp_path):
    save_steps(tmp_path, 20)
    for seed, path in enumerate(injector.files_below(tmp_path / "20")):
        name = path.relative_to(tmp_path / "20").as_posix()
        with injector.mended_after(path):
            injector.truncate(path, seed)
            assert [problem.partition(":")[0] for problem in reader(tmp_path).verify(20)] == [name]
            path.unlink()
            assert [problem.partition(":")[0] for problem in reader(tmp_path).verify(20)] == [name]
            with pytest.raises(Damaged):
                reader(tmp_path).restore(abstract())
    assert reader(tmp_path).verify(20) == []


def test_a_damaged_step_asked_for_by_name_is_an_error(tmp_path):
    save_steps(tmp_path, 10, 20)
    injector.flip_byte(injector.files_below(tmp_path / "20")[0], 0)
    for ask in (lambda: reader(tmp_path).restore(abstract(), 20), lambda: reader(tmp_path).read(20)):
        with pytest.raises(Damaged, match=r"no valid checkpoint in steps \[20\]"):
            ask()
    assert reader(tmp_path).read(10)[0] == 10


def test_a_reader_changes_nothing(tmp_path):
    save_steps(tmp_path, 10, 20)
    injector.flip_byte(tmp_path / "20" / MANIFEST, 0)
    (tmp_path / "30").mkdir()
    before = sorted(tmp_path.rglob("*"))
    assert reader(tmp_path).restore(abstract())[0] == 10
    assert reader(tmp_path).steps() == [10, 20]
    assert sorted(tmp_path.rglob("*")) == before


def test_a_writer_that_falls_back_can_save_the_damaged_step_again(tmp_path):
    save_steps(tmp_path, 10, 20, 30, latest=3)
    for step in (20, 30):
        injector.flip_byte(injector.files_below(tmp_path / str(step))[-1], step)
    with Checkpoints(tmp_path, CheckpointConfig()) as checkpoints:
        assert checkpoints.restore(abstract())[0] == 10
        checkpoints.save(20, make_state(99), meta={})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["10", "20", "20.damaged", "30.damaged"]
    step, state, _ = reader(tmp_path).restore(abstract())
    assert step == 20
    injector.flip_byte(injector.files_below(tmp_path / "20")[-1], 0)
    with Checkpoints(tmp_path, CheckpointConfig()) as checkpoints:
        checkpoints.restore(abstract())
    assert {"20.damaged", "20.damaged1"} <= {path.name for path in tmp_path.iterdir()}, "both are kept"
    assert_same_bits(state, make_state(99))


# --- a full disk


def assert_only_step_1_is_there(folder):
    assert [path.name for path in folder.iterdir() if path.name != "filler"] == ["1"]
    assert reader(folder).verify(1) == []


def large(seed):
    return {"w": jnp.asarray(np.random.default_rng(seed).standard_normal(1 << 18).astype(np.float32))}


@pytest.mark.parametrize("size", short([0, 100, 1000, 1 << 18], 0, 1 << 18))
def test_a_disk_that_fills_up_in_a_save_leaves_the_older_step_and_says_so(tmp_path, size):
    with Checkpoints(tmp_path, CheckpointConfig()) as checkpoints:
        checkpoints.save(1, large(1), meta={})
        checkpoints.wait()
        with injector.file_size_limit(size), pytest.raises(JaxlmError) as error:
            checkpoints.save(2, large(2), meta={})
            checkpoints.wait()
        assert str(error.value).startswith(f"checkpoint {tmp_path}/2 was not saved: File too large (1,048,576 bytes")
        assert_only_step_1_is_there(tmp_path)
        checkpoints.save(3, large(3), meta={})  # there is room again: training went on
    assert reader(tmp_path).steps() == [1, 3]
    np.testing.assert_array_equal(reader(tmp_path).read(prefix="w")[1]["w"], large(3)["w"])


def test_what_a_failed_save_writes_late_is_removed_too(tmp_path, monkeypatch):
    folder, late, now = CheckpointFolder(tmp_path), tmp_path / "2.orbax-checkpoint-tmp", 0.0
    writes = iter([0.05, 0.1, 0.4, 0.8, 1.2])  # seconds; each within the quiet time that the one before began
    due = next(writes)

    def sleep(seconds):  # a clock that stands still between sleeps: a slow machine does not change the outcome
        nonlocal now, due
        now += seconds
        if now >= due:
            (late / "array_metadatas").mkdir(parents=True)
            due = next(writes, math.inf)

    monkeypatch.setattr("jaxlm.checkpoint_folder.time", SimpleNamespace(monotonic=lambda: now, sleep=sleep))
    late.mkdir()
    (tmp_path / "2.removed" / "half").mkdir(parents=True)
    folder.remove_failed(2, quiet_seconds=0.5)
    assert due == math.inf and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("left", short([1 << 19, 1 << 12], 1 << 12))
def test_a_small_disk_of_its_own_fills_up(tmp_path, left, monkeypatch):
    disk = tmp_path / "disk"
    with injector.small_disk(disk, 4 << 20):
        with Checkpoints(disk, CheckpointConfig()) as checkpoints:
            checkpoints.save(1, large(1), meta={})
            checkpoints.wait()
            injector.fill_disk(disk, leave=left)
            with pytest.raises(JaxlmError, match="the disk is full"):
                checkpoints.save(2, large(2), meta={})
            monkeypatch.setattr("jaxlm.checkpoint._free_bytes", lambda folder: 1 << 40)  # it fills up later
            with pytest.raises(JaxlmError, match="No space left on device"):
                checkpoints.save(2, large(2), meta={})
                checkpoints.wait()
            assert_only_step_1_is_there(disk)
            (disk / "filler").unlink()
            checkpoints.save(3, large(3), meta={})
        assert reader(disk).steps() == [1, 3]


def test_a_save_that_failed_is_told_by_the_next_call(tmp_path):
    for tell in (lambda c: c.save(3, large(3), meta={}), lambda c: c.wait(), lambda c: c.close()):
        checkpoints = Checkpoints(tmp_path, CheckpointConfig())
        with injector.file_size_limit(100):
            checkpoints.save(2, large(2), meta={})
            checkpoints._finisher.join()
        with pytest.raises(JaxlmError, match="/2 was not saved"):
            tell(checkpoints)
        checkpoints.close()


# --- kill -9

CHILD = """
import sys, pathlib, numpy as np
from jaxlm.checkpoint import Checkpoints, CheckpointConfig
from tests.faults import injector
with Checkpoints(pathlib.Path(sys.argv[1]), CheckpointConfig(latest=1)) as checkpoints:
    checkpoints.save(1, {"w": np.random.default_rng(1).standard_normal(1 << 20)}, meta={})
    checkpoints.wait()
    if sys.argv[2]:
        injector.arm(sys.argv[2], injector.kill)
    checkpoints.save(2, {"w": np.random.default_rng(2).standard_normal(1 << 20)}, meta={})
"""


def continue_after_kill(folder, expected):
    with reader(folder) as checkpoints:
        step, arrays, _ = checkpoints.read(prefix="w")
        assert step == expected
        np.testing.assert_array_equal(arrays["w"], np.random.default_rng(expected).standard_normal(1 << 20))
    with Checkpoints(folder, CheckpointConfig(latest=1)) as checkpoints:
        assert all(path.name.isdecimal() for path in folder.iterdir())
        checkpoints.save(expected + 1, {"w": jnp.ones(2)}, meta={})
    assert [path.name for path in folder.iterdir()] == [str(expected + 1)]


def test_killed_while_orbax_writes(tmp_path):
    child = injector.start(CHILD, tmp_path, "")
    injector.kill_when(child, (tmp_path / "2.orbax-checkpoint-tmp").exists)
    continue_after_kill(tmp_path, expected=1)


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        pytest.param("jaxlm.hashing:os.replace", 1, marks=pytest.mark.slow),  # as in tests/faults/test_kill.py
        ("jaxlm.checkpoint_folder:shutil.rmtree", 2),
    ],
)
def test_killed_between_the_commit_and_the_end(tmp_path, moment, expected):
    child = injector.start(CHILD, tmp_path, moment)
    child.communicate(timeout=60)
    assert child.returncode == -9
    if expected == 2:
        assert reader(tmp_path).latest() == 2
    continue_after_kill(tmp_path, expected)


def test_a_process_that_saves_and_ends_says_nothing(tmp_path):
    child = injector.start("import logging; logging.basicConfig(level=logging.INFO)\n" + CHILD, tmp_path, "")
    _, stderr = child.communicate(timeout=60)
    assert (child.returncode, stderr) == (0, "")


# --- checkpoints from elsewhere, with hashes and seals made anew; `make test-slow` opens all of hostile_runs.py


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("theirs")
    save_steps(folder / "checkpoints", 0)
    return hostile_case.Good(folder, folder, folder, folder, folder)


@pytest.mark.parametrize(
    "name",
    [
        "numbers cut short, hashed anew", "files swapped, hashed anew", "names of arrays that climb",
        "metadata 100,000 deep", "a link to numbers elsewhere", "a file in the folder above", "a device",
        "a file of negative size", "files in a list", "an array of Python objects", "arrays of 2**60 numbers",
        "arrays of 10 GB", "an array of another shape", "a manifest of 4 GB", "a step that is a link",
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_checkpoint_made_to_harm_is_refused_and_little_is_read(name, theirs, tmp_path):
    (tmp_path / "run").mkdir()
    hostile_runs.CHECKPOINTS[name](tmp_path / "run", theirs)
    with pytest.raises((Damaged, UserError)) as error:
        reader(tmp_path / "run" / "checkpoints").read()
    assert "\n" not in str(error.value)
    # Where one array cannot be read, Orbax leaves its reading of the others unfinished: they end here, not in the
    # middle of another test.
    del error
    gc.collect()


def test_numbers_that_jax_would_narrow_are_read_as_they_are(tmp_path):
    wide = {"params": {"a": np.array([1 + 2**-40, 2.0]), "b": np.array([2**40], np.int64)}}
    with Checkpoints(tmp_path, CheckpointConfig()) as checkpoints:
        checkpoints.save(0, wide, meta={})
        _, flat, _ = checkpoints.read()
    assert flat["params/a"].dtype == np.float64 and flat["params/a"].tolist() == [1 + 2**-40, 2.0]
    assert flat["params/b"].dtype == np.int64 and flat["params/b"].tolist() == [2**40]
