"""Checkpoints, run folders, configs, shards and corpora that somebody made to harm, with hashes and seals made anew."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jaxlm.data.pack import _seal
from jaxlm.hashing import file_hash
from tests.faults.hostile_case import Case, Good, copied, deep, edited, file, many, rehashed, sealed, sparse

Harm = Callable[[Path], Any]
Make = Callable[[Path, Good], Any]
STEP = Path("checkpoints/0")


def of_run(harm: Harm) -> Make:
    return copied(lambda good: good.run, harm)


def of_step(harm: Harm, *, hashes: bool = True) -> Make:
    """Harm the checkpoint; with `hashes` its manifest knows of it."""

    def whole(folder: Path) -> None:
        harm(folder / STEP)
        if hashes:
            rehashed(folder / STEP, folder / STEP / "manifest.json")

    return of_run(whole)


def manifest(change: Callable[[dict], Any]) -> Make:
    return of_run(lambda folder: sealed(folder / STEP / "manifest.json", change))


def data_file(step: Path) -> Path:
    """The largest file of Orbax's: numbers."""
    return max((path for path in step.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def outward(path: Path) -> None:
    """The file lies elsewhere now, and a link leads to it."""
    where = path.parents[3] / "elsewhere"
    shutil.move(path, where)
    path.symlink_to(where)


def arrays(change: Callable[[dict], Any]) -> Make:
    return manifest(lambda facts: change(facts["arrays"]))


def first(told: dict) -> str:
    return next(iter(told))


def all_sizes(kind: str) -> Make:
    """Every array of another size, it says."""
    return arrays(lambda told: told.update(dict.fromkeys(told, kind)))


def _other_arrays(step: Path) -> None:
    """Orbax's metadata names other arrays."""
    path = step / "_METADATA"
    path.write_text(path.read_text().replace("params/", "../../params/"))


def _swapped(step: Path) -> None:
    a = data_file(step)  # Orbax names files at random: not just any two, as not all are read
    b = min((path for path in (step / "d").iterdir() if path != a), key=lambda path: path.stat().st_size)
    one, two = a.read_bytes(), b.read_bytes()
    a.write_bytes(two)
    b.write_bytes(one)


CHECKPOINTS = {
    "a flipped bit of numbers": of_step(lambda step: flip(data_file(step)), hashes=False),
    "a flipped bit, hashed anew": of_step(lambda step: flip(data_file(step))),
    "numbers cut short": of_step(lambda step: cut(data_file(step)), hashes=False),
    "numbers cut short, hashed anew": of_step(lambda step: cut(data_file(step))),
    "files swapped, hashed anew": of_step(_swapped),
    "the key-value store cut short": of_step(lambda step: cut(step / "manifest.ocdbt")),
    "the key-value store of zeros": of_step(lambda step: (step / "manifest.ocdbt").write_bytes(bytes(300))),
    "names of arrays that climb": of_step(_other_arrays),
    "metadata 100,000 deep": of_step(lambda step: (step / "_METADATA").write_text(deep(100_000))),
    "metadata that is a list": of_step(lambda step: (step / "_METADATA").write_text("[]")),
    "no metadata": of_step(lambda step: (step / "_METADATA").unlink()),
    "a link to numbers elsewhere": of_step(lambda step: outward(data_file(step))),
    "a file in the folder above": manifest(lambda facts: facts["files"].update({"../../config.json": [1, "0" * 32]})),
    "an absolute file": manifest(lambda facts: facts["files"].update({"/etc/passwd": [1, "0" * 32]})),
    "a device": manifest(lambda facts: facts["files"].update({"/dev/zero": [0, "0" * 32]})),
    "a file with NUL": manifest(lambda facts: facts["files"].update({"a\0b": [1, "0" * 32]})),
    "a file of negative size": manifest(lambda facts: facts["files"].update({"_METADATA": [-1, "0" * 32]})),
    "a file of 2**80 bytes": manifest(lambda facts: facts["files"].update({"_METADATA": [2**80, "0" * 32]})),
    "a file told by a word": manifest(lambda facts: facts["files"].update({"_METADATA": "good"})),
    "files in a list": manifest(lambda facts: facts.update(files=["_METADATA"])),
    "no files": manifest(lambda facts: facts.pop("files")),
    "no arrays": manifest(lambda facts: facts.update(arrays={})),
    "arrays in a list": manifest(lambda facts: facts.update(arrays=[1])),
    "an array told by a number": arrays(lambda told: told.update({first(told): 3})),
    "an array of Python objects": all_sizes("object[3]"),
    "an array of strings": all_sizes("str[3]"),
    "an array of no dtype": all_sizes("float33[3]"),
    "an array of negative size": all_sizes("float32[-3]"),
    "an array of 40 dimensions": all_sizes(f"float32[{','.join(['1'] * 40)}]"),
    "arrays of 2**60 numbers": all_sizes("float32[1073741824,1073741824]"),
    "arrays of 10 GB": all_sizes("float32[2500000000]"),
    "an array too many": arrays(lambda told: told.update({"params/more": "float32[2]"})),
    "an array too few": arrays(lambda told: told.pop(first(told))),
    "an array of another shape": arrays(lambda told: told.update({"params/embedding": "float32[16,512]"})),
    "an array of another dtype": arrays(lambda told: told.update({"params/embedding": "int32[512,16]"})),
    "another step": manifest(lambda facts: facts.update(step=7)),
    "a step of 2**90": manifest(lambda facts: facts.update(step=2**90)),
    "metrics that are words": manifest(lambda facts: facts.update(metrics="low")),
    "a manifest that is not sealed": of_run(lambda folder: (folder / STEP / "manifest.json").write_text("{}")),
    "a manifest 100,000 deep": of_run(lambda folder: (folder / STEP / "manifest.json").write_text(deep(100_000))),
    "a manifest of 4 GB": of_run(lambda folder: sparse(folder / STEP / "manifest.json", 4 << 30)),
    "a manifest of lists": of_run(
        lambda folder: (folder / STEP / "manifest.json").write_text("[" + "[]," * 5_000_000 + "[]]")),
    "a manifest that is a folder": of_run(
        lambda folder: ((folder / STEP / "manifest.json").unlink(), (folder / STEP / "manifest.json").mkdir())),
    "a step that is a link": of_run(
        lambda folder: (shutil.move(folder / STEP, folder / "real"), (folder / STEP).symlink_to(folder / "real"))),
    "a step of 5,000 digits": of_run(lambda folder: os.rename(folder / STEP, folder / "checkpoints" / ("9" * 200))),
}  # fmt: skip


def settings(change: Callable[[dict], Any]) -> Make:
    return of_run(lambda folder: edited(folder / "config.json", change))


RUNS = {
    "a config 100,000 deep": of_run(lambda folder: (folder / "config.json").write_text(deep(100_000))),
    "a config of 4 GB": of_run(lambda folder: sparse(folder / "config.json", 4 << 30)),
    "a config that is a device": of_run(
        lambda folder: ((folder / "config.json").unlink(), (folder / "config.json").symlink_to("/dev/zero"))),
    "a config of another class": settings(lambda cfg: cfg["model"].update(kind="os.system")),
    "a config with a field more": settings(lambda cfg: cfg.update(__class__="os.system")),
    "a model of 2**40 layers": settings(lambda cfg: cfg["model"].update(layers=2**40)),
    "a model of another width": settings(lambda cfg: cfg["model"].update(width=32)),
    "a vocabulary of 2**50": settings(lambda cfg: cfg["model"].update(vocab=2**50)),
    "a format of tomorrow": settings(lambda cfg: cfg.update(format_version=2)),
    "a tokenizer that is not there": of_run(lambda folder: shutil.rmtree(folder / "tokenizer")),
    "a tokenizer of another model": of_run(
        lambda folder: (folder / "tokenizer" / "huggingface" / "tokenizer.json").write_text("{}")),
}  # fmt: skip


def with_data(text: str) -> Make:
    """A run that began with a text, and says where its shards are."""

    def harm(folder: Path) -> None:
        edited(folder / "config.json", lambda cfg: (cfg.update(init=None), cfg["data"].update(source=str(folder))))
        (folder / "data.json").write_text(text)

    return of_run(harm)


def _link(name: str) -> Make:
    def harm(folder: Path) -> None:
        edited(folder / "config.json", lambda cfg: (cfg.update(init=None), cfg["data"].update(source=str(folder))))
        victim = folder.parent / "victim"
        victim.mkdir()
        (victim / "file").write_text("untouched")
        path = folder / name
        if path.exists():
            path.rename(folder.parent / "moved")
        path.symlink_to(victim if "." not in name else victim / "file")

    return of_run(harm)


TRAINED = {
    "data.json that names /etc": with_data(json.dumps({"shards": "/etc", "digest": "0" * 32})),
    "data.json that names a device": with_data(json.dumps({"shards": "/dev/zero", "digest": "0" * 32})),
    "data.json with NUL": with_data(json.dumps({"shards": "a\0b", "digest": "0" * 32})),
    "data.json that is a list": with_data("[1]"),
    "data.json of numbers": with_data(json.dumps({"shards": 1, "digest": 2})),
    "data.json 100,000 deep": with_data(deep(100_000)),
    "metrics that are a link": _link("metrics.jsonl"),
    "a temporary file that is a link": _link("config.json.tmp"),
    "checkpoints that are a link": _link("checkpoints"),
    "a profile that is a link": _link("profile"),
    "a lock that is a link": _link("lock"),
}
VERIFIED = {name: CHECKPOINTS[name] for name in (
    "a flipped bit of numbers", "an absolute file", "a link to numbers elsewhere", "files in a list", "no files",
    "a manifest of 4 GB", "a device",
)}  # fmt: skip


def saved_config(text: str | Callable[[], str]) -> Make:
    return file("config.json", lambda: (text() if callable(text) else text).encode("utf-8", "surrogatepass"))


CONFIGS = {
    "100,000 deep": saved_config(lambda: deep(100_000)),
    "100,000 lists deep": saved_config(lambda: "[" * 100_000),
    "a million lists": saved_config(lambda: '{"a": [' + "[]," * 1_000_000 + "[]]}"),
    "a number of 5,000 digits": saved_config('{"seed": 1' + "0" * 5_000 + "}"),
    "a number of 4,000 digits": saved_config('{"seed": 1' + "0" * 4_000 + "}"),
    "half a surrogate pair": saved_config('{"name": "\\ud800"}'),
    "no UTF-8": file("config.json", b'{"name": "\xff"}'),
    "a pickle": file("config.json", b"\x80\x04cos\nsystem\n(S'touch /tmp/owned'\ntR."),
    "YAML with a tag": file("config.json", "!!python/object/apply:os.system ['touch /tmp/owned']"),
    "not finite": saved_config('{"name": "a", "seed": NaN}'),
    "4 GB": lambda folder, good: sparse(folder / "config.json", 4 << 30),
}


# --- shards


def of_shards(harm: Harm) -> Make:
    return copied(lambda good: good.shards, harm)


def facts(change: Callable[[dict], Any]) -> Make:
    return of_shards(lambda folder: sealed(folder / "manifest.json", change))


def stored(name: str, values: Callable[[np.ndarray], Any], dtype: str) -> Make:
    """Another content of a file, hashed anew."""

    def harm(folder: Path) -> None:
        found = np.fromfile(folder / name, dtype)
        changed = values(found)
        (found if changed is None else changed).tofile(folder / name)
        rehashed(folder, folder / "manifest.json")

    return of_shards(harm)


def counts(**told: Any) -> Make:
    return facts(lambda manifest: manifest["splits"]["train"].update(told))


def plan(*numbers: int) -> Make:
    """A row plan that fits the shards by its seal."""

    def harm(folder: Path) -> None:
        digest, name = file_hash(folder / "manifest.json"), "train-packed-8.plan"
        content = np.array(numbers, "<i8").tobytes()
        (folder / "plans").mkdir(exist_ok=True)
        (folder / "plans" / name).write_bytes(_seal(content, name, digest) + content)

    return of_shards(harm)


def at(place: int, value: int) -> Callable[[np.ndarray], None]:
    def change(found: np.ndarray) -> None:
        found[place] = value

    return change


def _moved(folder: Path) -> None:
    outward_to = folder.parent / "elsewhere"
    shutil.move(folder / "train.tokens", outward_to)
    (folder / "train.tokens").symlink_to(outward_to)


SHARDS = {
    "fewer documents than there are": counts(documents=1),
    "more tokens than there are": counts(tokens=10**9),
    "2**80 tokens": counts(tokens=2**80, predicted=2**80 - 1),
    "negative counts": counts(documents=-1),
    "counts that are words": counts(tokens="many"),
    "counts that are truths": counts(tokens=True),
    "counts of nothing": facts(lambda manifest: manifest["splits"].update(train={})),
    "a split in another folder": facts(lambda manifest: manifest["splits"].update(
        {"../../secret": manifest["splits"]["train"]})),
    "no splits": facts(lambda manifest: manifest.update(splits=[])),
    "more predicted than there is": counts(predicted=10**9),
    "u32, it says, in files of u16": facts(lambda manifest: manifest.update(vocab=100_000)),
    "u32 in words, u16 by its vocabulary": facts(lambda manifest: manifest.update(dtype="<u4")),
    "Python objects": facts(lambda manifest: manifest.update(dtype="|O")),
    "2**40 ids": facts(lambda manifest: manifest.update(vocab=2**40, dtype="<u4")),
    "no ids": facts(lambda manifest: manifest.update(vocab=0)),
    "a vocabulary that is a word": facts(lambda manifest: manifest.update(vocab="50")),
    "a separator that is none": facts(lambda manifest: manifest.update(separator=10**6)),
    "a negative separator": facts(lambda manifest: manifest.update(separator=-1)),
    "a mask that is none": facts(lambda manifest: manifest.update(mask=2**40)),
    "sentinels that are words": facts(lambda manifest: manifest.update(sentinels=["a"])),
    "examples of 2**40 parts": facts(lambda manifest: manifest.update(parts=2**40)),
    "components that are a word": facts(lambda manifest: manifest.update(components="source")),
    "a file in the folder above": facts(lambda manifest: manifest["files"].update({"../secret": [1, "0" * 32]})),
    "an absolute file": facts(lambda manifest: manifest["files"].update({"/etc/passwd": [1, "0" * 32]})),
    "a file told by a word": facts(lambda manifest: manifest["files"].update({"train.tokens": "good"})),
    "a file that is not told of": facts(lambda manifest: manifest["files"].pop("train.tokens")),
    "no files": facts(lambda manifest: manifest.pop("files")),
    "a link out of the folder": of_shards(_moved),
    "a manifest of 4 GB": of_shards(lambda folder: sparse(folder / "manifest.json", 4 << 30)),
    "a manifest 100,000 deep": of_shards(lambda folder: (folder / "manifest.json").write_text(deep(100_000))),
    "a format of tomorrow": facts(lambda manifest: manifest.update(format_version=2**70)),
    "an index beyond the file": stored("train.offsets", at(-1, 10**9), "<u8"),
    "an index of 2**63": stored("train.offsets", at(1, 2**63), "<u8"),
    "an index that runs back": stored("train.offsets", lambda found: found[::-1].copy(), "<u8"),
    "an index of zeros": stored("train.offsets", lambda found: found * 0, "<u8"),
    "an index that begins late": stored("train.offsets", at(0, 1), "<u8"),
    "a flipped bit": of_shards(lambda folder: flip(folder / "train.tokens")),
    "tokens cut short": of_shards(lambda folder: cut(folder / "train.tokens")),
}  # fmt: skip
PLANS = {  # rows, first span of each row and the end, then starts, then counts
    "a plan that leads outside": plan(1, 0, 1, 10**12, 8),
    "a plan before the beginning": plan(1, 0, 1, -(10**12), 8),
    "a plan of rows too long": plan(1, 0, 1, 0, 10**12),
    "a plan of 2**62 rows": plan(2**62, 0, 1, 0, 8),
    "a plan of negative rows": plan(-5, 0, 1, 0, 8),
    "a plan of nothing": plan(),
    "a plan whose rows run back": plan(2, 0, 5, 1, 0, 8),
}


def of_corpus(harm: Harm) -> Make:
    return copied(lambda good: good.corpus, harm)


def _corpus_facts(change: Callable[[dict], Any]) -> Make:
    return of_corpus(lambda folder: sealed(folder / "manifest.json", change))


CORPORA = {
    "a file in the folder above": _corpus_facts(lambda facts: facts["files"].update({"../x": [1, "0" * 32]})),
    "an absolute file": _corpus_facts(lambda facts: facts["files"].update({"/etc/passwd": [1, "0" * 32]})),
    "files in a list": _corpus_facts(lambda facts: facts.update(files=[])),
    "no digest": _corpus_facts(lambda facts: facts.pop("digest")),
    "a manifest 100,000 deep": of_corpus(lambda folder: (folder / "manifest.json").write_text(deep(100_000))),
    "a datasheet 100,000 deep": of_corpus(lambda folder: (folder / "datasheet.json").write_text(deep(100_000))),
    "a flipped bit": of_corpus(lambda folder: flip(next((folder / "documents").glob("*.parquet")))),
}


def page(name: str, text: str | Callable[[], str]) -> Make:
    return of_run(lambda folder: (folder / name).write_text(text() if callable(text) else text))


REPORTS = {
    "metrics 100,000 deep": page("metrics.jsonl", lambda: deep(100_000) + "\n"),
    "metrics of steps without end": page("metrics.jsonl", '{"step": 1e400, "loss": 1}\n{"step": 1, "loss": -1e400}\n'),
    "metrics of 5,000 digits": page("metrics.jsonl", '{"step": 1' + "0" * 5_000 + ', "loss": 1}\n'),
    "metrics of lists": page("metrics.jsonl", '{"step": [1], "loss": {"a": 1}}\n'),
    "evaluations that are markup": page(
        "evaluations.jsonl", json.dumps({"step": "<script>alert(1)</script>", "loss": "<img onerror=x>"}) + "\n"),
    "samples of a million characters": page(
        "samples.jsonl", lambda: json.dumps({"prompt": "<b>" * 300_000, "completion": "\ud800"}) + "\n"),
    "an environment that is a list": page("environment.json", "[1]"),
    "an environment 100,000 deep": page("environment.json", lambda: deep(100_000)),
    "a config of lists": page("config.json", '{"data": [], "model": 3, "loop": {"steps": "x"}}'),
    "a layout of 5,000 digits": page("layout.json", '{"devices": 1' + "0" * 5_000 + "}"),
    "data.json of words": page("data.json", '{"counts": "x", "shards": [], "mixture": [1, {"component": 3}]}'),
}  # fmt: skip

HEAVY = {"a manifest of lists", "a million lists"}
FLIPPED = {"a flipped bit, hashed anew", "a step that is a link", "no metadata"}
CASES = [
    *many("run", CHECKPOINTS), *many("run", RUNS), *many("verify", VERIFIED), *many("train", TRAINED),
    *many("config", CONFIGS), *many("shards", SHARDS), *many("shards", PLANS, ends=("refused", "opened")),
    *many("corpus", CORPORA), *many("report", REPORTS, ends=("told", "opened")),
]  # fmt: skip
CASES = [
    case._replace(heavy=case.name in HEAVY, ends=("refused", "opened") if case.name in FLIPPED else case.ends)
    for case in CASES
]
assert all(isinstance(case, Case) for case in CASES)
