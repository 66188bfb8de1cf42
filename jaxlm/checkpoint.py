"""Checkpoints that prove themselves: Orbax saves, our manifest says what was saved.

Plain Orbax restores a flipped bit in its data file without a word (25 of 25 in our trial) and casts
to another dtype silently. So every hash is compared before anything is read, and names, shapes and
dtypes before anything is restored. A damaged step is skipped with a warning. What is stored is a flat
dict of names and arrays (OCDBT) and JSON: no pickle, and no library's objects.

Orbax's AsyncCheckpointer is used without its CheckpointManager: the manager removes old steps before
our manifest of the new one is written, reads the metrics of all steps when it is opened (one damaged
file of an old step then stops the run: tried), and answers save(step <= latest) with a False that is
easily lost.

Left out: the folder and its rules, which are in checkpoint_folder.py.
"""

import contextlib
import errno
import json
import logging
import math
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from jaxlm import ranks
from jaxlm.checkpoint_folder import MANIFEST, CheckpointConfig, CheckpointFolder
from jaxlm.errors import Damaged, JaxlmError, UserError
from jaxlm.flat import flatten, kinds, require_same, shape_of, unflatten

# Bytes of arrays for one in a file, beyond so many; chosen: a state at its start is two thirds zeros, packs 3-fold.
MOST_PACKED, FREE_BYTES = 200, 200_000_000
WIDE = ("float64", "int64", "uint64", "complex128")  # dtypes that jax would narrow


class Checkpoints:
    """The checkpoints in one folder. Close a writer, or use it with `with`: it writes in a thread.

    In a run of several processes all call the same methods in the same order; process 0 hashes,
    writes manifests and removes.
    """

    def __init__(self, folder: Path, cfg: CheckpointConfig, *, read_only: bool = False):
        _quieten_orbax()
        self.cfg, self.folder = cfg, CheckpointFolder(Path(folder))
        self._read_only = read_only
        self._finisher: threading.Thread | None = None
        self._failure: Exception | None = None
        if not read_only:
            self.folder.root.mkdir(parents=True, exist_ok=True)
            _on_process_0(self.folder.remove_unfinished)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def steps(self) -> list[int]:
        """The finished steps, oldest first, damaged ones included."""
        return self.folder.finished()

    def latest(self) -> int | None:
        """The newest finished step."""
        return max(self.steps(), default=None)

    def verify(self, step: int) -> list[str]:
        """What is wrong with `step`, as lines `file: problem`; reads and hashes every byte."""
        return self.folder.problems(step)

    def save(self, step: int, state: Any, *, meta: dict, metrics: dict[str, float] | None = None) -> None:
        """Begin to save; `state` may be donated as soon as this returns. `meta` is plain JSON.

        Waits for the save before it, and raises what went wrong there. JaxlmError where the disk is full.
        """
        assert not self._read_only, f"{self.folder.root} was opened to read"
        self.wait()
        newest = max(self.folder.committed(), default=-1)
        if step <= newest:
            raise UserError(
                f"checkpoint step {step} is not after step {newest}, the newest in {self.folder.root}: "
                f"move the newer steps away, or train in another run folder"
            )
        arrays = flatten(state)
        facts = {
            "arrays": kinds(arrays),
            "meta": json.loads(json.dumps(meta)),  # what is no JSON fails here and not in the thread
            "metrics": {name: float(value) for name, value in (metrics or {}).items()},
        }
        needed = sum(leaf.nbytes for leaf in arrays.values())
        if needed > _free_bytes(self.folder.root):
            raise self._not_saved(step, needed, "the disk is full")
        # One writer a save: Orbax's raises the error of a failed save again in each later one.
        writer = ocp.AsyncCheckpointer(ocp.PyTreeCheckpointHandler())
        try:
            writer.save(self.folder.path(step), args=ocp.args.PyTreeSave(arrays))
        except (OSError, ValueError) as error:
            raise self._not_saved(step, needed, error) from error
        self._finisher = threading.Thread(target=self._finish, args=(writer, step, facts, needed))
        self._finisher.start()
        if not self.cfg.asynchronous:
            self.wait()

    def wait(self) -> None:
        """Return when nothing is being saved any more; raises what went wrong."""
        if self._finisher is None:
            return
        self._finisher.join()
        failure, self._finisher, self._failure = self._failure, None, None

        def told() -> None:
            if failure is not None:
                raise failure

        ranks.first(told, "a checkpoint")  # whose manifest process 0 has written when this returns
        told()

    def close(self) -> None:
        """`wait`; after that another writer may use the folder."""
        self.wait()

    def restore(self, abstract: Any, step: int | None = None) -> tuple[int, Any, dict]:
        """(step, state, meta) of `step`, or of the newest valid one, onto the shardings in `abstract`.

        `abstract` is a tree of jax.ShapeDtypeStruct; an array without a sharding goes to the first
        device. Damaged where `step`, or every step, cannot be trusted. A writer that falls back sets
        the damaged newer steps aside, so that they can be saved again.
        """
        self.wait()
        chosen = self._valid_step(step)
        manifest, wanted = self.folder.manifest(chosen), flatten(abstract)
        require_same(manifest["arrays"], kinds(wanted), f"checkpoint {self.folder.path(chosen)}")
        if not self._read_only and step is None:
            damaged = [other for other in self.folder.committed() if other > chosen]
            _on_process_0(lambda: self.folder.set_aside(damaged))
        first = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        how = {name: _like(leaf.shape, leaf.sharding or first) for name, leaf in wanted.items()}
        return chosen, unflatten(abstract, self._read_arrays(chosen, how, manifest)), manifest["meta"]

    def read(self, step: int | None = None, prefix: str = "params/") -> tuple[int, dict[str, np.ndarray], dict]:
        """(step, {name: array on the host}, meta): the arrays whose names begin with `prefix`, no others."""
        self.wait()
        chosen = self._valid_step(step)
        manifest = self.folder.manifest(chosen)
        names = [name for name in manifest["arrays"] if name.startswith(prefix)]
        if not names:
            raise UserError(f"checkpoint {self.folder.path(chosen)} holds no array under {prefix!r}")
        host = jax.sharding.SingleDeviceSharding(_host_device())
        how: dict[str, Any] = {
            name: ocp.RestoreArgs(restore_type=np.ndarray) if kind.startswith(WIDE) else _like(shape_of(kind), host)
            for name in names for kind in [manifest["arrays"][name]]
        }  # fmt: skip
        arrays = self._read_arrays(chosen, how, manifest)
        return chosen, {name: np.asarray(array) for name, array in arrays.items()}, manifest["meta"]

    def _read_arrays(self, step: int, how: dict[str, Any], manifest: dict) -> dict[str, Any]:
        """The arrays named by `how`; Damaged where they are not what the manifest tells, and then little is read."""
        path, told = self.folder.path(step), {name: manifest["arrays"][name] for name in how}
        size, stored = sum(map(_bytes_of, told.values())), sum(size for size, _ in manifest["files"].values())
        if size > max(FREE_BYTES, MOST_PACKED * stored):
            raise Damaged(f"checkpoint {path} would unpack to {size:,} bytes from {stored:,}: it is none of a model")
        args = ocp.args.PyTreeRestore(item=dict.fromkeys(how, 0), restore_args=how, partial_restore=True)
        try:
            _require_shapes(path, {n: told[n] for n in how if not isinstance(how[n], ocp.ArrayRestoreArgs)})
            with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
                arrays = reader.restore(path, args=args)
        except (MemoryError, jax.errors.JaxRuntimeError):  # of the machine, where it is too small
            raise
        except Exception as error:  # each part has errors of its own
            raise Damaged(f"checkpoint {path} cannot be read, though its hashes are right: {_reason(error)}") from error
        found = kinds({name: array for name, array in arrays.items() if hasattr(array, "dtype")})
        if wrong := next((name for name in told if found.get(name) != told[name]), None):
            raise Damaged(f"checkpoint {path}: {wrong!r} is {found.get(wrong)}, but {MANIFEST} tells of {told[wrong]}")
        return arrays

    def _valid_step(self, step: int | None) -> int:
        """`step`, or the newest, whose hashes are all right; process 0 looks, and tells the others."""
        there = self.folder.committed()
        if not there or (step is not None and step not in there):
            wanted = "no checkpoint" if step is None else f"no checkpoint step {step}"
            raise UserError(f"{self.folder.root}: {wanted}; steps there: {there or 'none'}")
        candidates = there[::-1] if step is None else [step]
        valid = ranks.first(lambda: self.folder.first_valid(candidates), "a valid checkpoint")
        if valid is None:
            raise Damaged(
                f"{self.folder.root}: no valid checkpoint in steps {candidates}, the warnings say why: bring the "
                f"files back from a copy, use another step, or train anew with --fresh"
            )
        return valid

    def _finish(self, writer: ocp.AsyncCheckpointer, step: int, facts: dict, needed: int) -> None:
        """In a thread: when Orbax has committed, write the manifest; then remove what need not stay."""
        try:
            writer.close()  # waits
            if ranks.rank() == 0:
                self.folder.finish(step, facts)
        except Exception as error:  # raised again by the next `save`, `wait` or `close`
            self._failure = error  # in case that even explaining it fails
            self._failure = self._not_saved(step, needed, error)
            self._failure.__cause__ = error
            return
        try:
            if ranks.rank() == 0:
                self.folder.remove_old(self.cfg)
        except OSError as error:
            self._failure = JaxlmError(f"checkpoint step {step} is saved, but old steps stay: {error}")

    def _not_saved(self, step: int, needed: int, why: object) -> JaxlmError:
        if ranks.rank() == 0:
            with contextlib.suppress(OSError):  # the next writer removes it
                self.folder.remove_failed(step)
        free = _free_bytes(self.folder.root)
        return JaxlmError(
            f"checkpoint {self.folder.path(step)} was not saved: {_reason(why)} "
            f"({needed:,} bytes needed, {free:,} free). Finished steps {self.steps()} are untouched"
        )


def _like(shape: tuple[int, ...], sharding: Any) -> ocp.ArrayRestoreArgs:
    """Read an array that has this shape, or none: what another shape would need is never asked for."""
    return ocp.ArrayRestoreArgs(sharding=sharding, global_shape=shape, strict=True)


def _require_shapes(path: Path, told: dict[str, str]) -> None:
    """ValueError where arrays are stored with other shapes; takes some ms for each array of the checkpoint."""
    stored = ocp.PyTreeCheckpointHandler().metadata(path) if told else {}  # type: ignore[arg-type]  # any path will do
    for name, kind in told.items():
        if tuple(stored[name].shape) != shape_of(kind):
            raise ValueError(f"{name!r} is stored with the shape {stored[name].shape}, not that of {kind}")


def _host_device() -> Any:
    """The CPU, where jax has it beside the accelerator."""
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:  # JAX_PLATFORMS leaves it out
        return jax.local_devices()[0]


def _bytes_of(kind: str) -> int:
    """Of an array "float32[3,4]"; Damaged for a dtype that no array of ours has."""
    try:
        return math.prod(shape_of(kind)) * jax.numpy.dtype(kind.partition("[")[0]).itemsize
    except TypeError:
        raise Damaged(f"{MANIFEST} tells of an array {kind!r}, which is of no dtype") from None


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def _reason(why: object) -> str:
    """One line: what the system said, where TensorStore wraps it in names and addresses of its own."""
    for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        if os.strerror(code) in str(why):
            return os.strerror(code)
    return str(why).strip().partition("\n")[0]


def _quieten_orbax() -> None:
    """Orbax logs each move at INFO, and each failure three times with a traceback; `wait` raises it once."""
    logger = logging.getLogger("absl")
    logger.setLevel(logging.WARNING)
    logger.addFilter(_without_traceback)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # it tells again of each array that could not be read


def _without_traceback(record: logging.LogRecord) -> bool:
    if "orbax" in record.pathname:
        record.exc_info = None
    return True


def _on_process_0(action: Any) -> None:
    """Act on process 0; the others go on when it is done."""
    ranks.first(action, "checkpoints")
