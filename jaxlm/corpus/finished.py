"""A corpus that is finished: what lies in its folder, and how it comes there.

documents/00000.parquet ...   what stays: id, text, source, language, url, date, licence, title
removed/00000.parquet ...     what went: stage, reason, evidence, the beginning of its text
cut/00000.parquet ...         what was cut out of those that stay: the same, and its place
contamination/                report.json, leaks.parquet, phrases.parquet, whole.parquet: what of the evaluation
                              sets was found where
left_out.parquet              what gave no document: file, place, reason
datasheet.html .md .json      of what the manifest says (report/datasheet.py)
manifest.json                 sealed: config, versions, inputs, counts of each stage and reason, samples, hashes
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jaxlm
from jaxlm import hashing, redact
from jaxlm.corpus import left_out, libraries, stages, tasks
from jaxlm.corpus.config import CorpusConfig
from jaxlm.corpus.config import told as told_config
from jaxlm.corpus.contamination import report
from jaxlm.corpus.files import is_corpus
from jaxlm.errors import Damaged, UserError

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
DATASHEET = "datasheet.json"
DATASHEETS = (DATASHEET, "datasheet.md", "datasheet.html")
FOLDERS = {"documents": stages.DOCUMENTS, "removed": stages.REMOVED, "cut": stages.CUT}  # and what a part writes


class Corpus(NamedTuple):
    """A finished one."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def documents(self) -> Path:
        return self.folder / "documents"

    @classmethod
    def open(cls, folder: Path) -> "Corpus":
        """Damaged where the manifest is not what was written, UserError where there is none."""
        try:
            (folder / MANIFEST).stat()
            manifest = hashing.read_sealed(folder / MANIFEST)
        except OSError as error:
            raise UserError(
                f"{folder} has no {MANIFEST} ({error.strerror}): a corpus is a folder made by `jaxlm prepare`"
            ) from None
        if manifest.get("format_version") != FORMAT_VERSION:
            raise UserError(
                f"{folder}: format_version={manifest.get('format_version')}, this jaxlm reads {FORMAT_VERSION}: run "
                f"`jaxlm prepare` again"
            )
        wanted = {"files": dict, "stages": dict, "summary": dict, "config": dict, "digest": str}
        hashing.told(manifest, wanted, str(folder / MANIFEST))
        return cls(folder, manifest)

    def verify(self) -> list[str]:
        """`file: what is wrong`: files that are not as they were written, or that are beside them and of nobody, and a
        datasheet of another corpus."""
        strange = (f"{name}: not of this corpus, but read with it: remove it" for name in self._strangers())
        return [*hashing.folder_problems(self.folder, self.manifest["files"]), *strange, *self._datasheet_problem()]

    def _datasheet_problem(self) -> Iterator[str]:
        try:
            wrong = json.loads((self.folder / DATASHEET).read_bytes())["digest"] != self.manifest["digest"]
        except FileNotFoundError:
            return  # a corpus has one only where the command made it
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            yield f"{DATASHEET}: damaged: run the same `jaxlm prepare` again"
            return
        if wrong:
            yield f"{DATASHEET}: of another corpus: run the same `jaxlm prepare` again"

    def _strangers(self) -> list[str]:
        """Files beside those of the corpus, but for hidden ones, which nothing reads."""
        every = (path for name in FOLDERS for path in (self.folder / name).rglob("*") if path.is_file())
        there = {path.relative_to(self.folder).as_posix() for path in every if not path.name.startswith(".")}
        return sorted(there - self.manifest["files"].keys())


def check(source: Path, hashes: Mapping[str, str], *, whole: bool) -> None:
    """Damaged where files, {name: hash}, of a corpus' documents are not as it wrote them; `whole`: they are all.

    `source` is the corpus' folder or its documents; any other is not looked at.
    """
    folder = corpus_of(source)
    if folder is None:
        return
    below = "" if folder == source.absolute() else "documents/"
    there = {below + name: hash_ for name, hash_ in hashes.items()}
    files = Corpus.open(folder).manifest["files"]
    known = {name: hash_ for name, (_, hash_) in files.items() if name.startswith("documents/")}
    for name in sorted({*there, *known}) if whole else sorted(there):
        if there.get(name) == known.get(name):
            continue
        why = "is missing" if name not in there else "is not as it was written" if name in known else "is not of it"
        raise Damaged(
            f"{folder / name} {why}, says {folder / MANIFEST}: run `jaxlm prepare` again, or copy the documents "
            f"elsewhere if they were changed on purpose"
        )


def corpus_of(path: Path) -> Path | None:
    """The folder of the corpus that `path` is, or whose documents it is; None of any other."""
    path = path.absolute()
    folder = path.parent if path.name == "documents" else path
    return folder if is_corpus(folder) else None


def beside(folder: Path, name: str) -> Path:
    """Where what will be `name` is built."""
    return folder / f".{name}.building"


def commit(
    cfg: CorpusConfig,
    folder: Path,
    written: Sequence[Path],
    leaked: Path | None,
    inputs: list[dict],
    facts: dict,
    told: dict,
) -> Corpus:
    """Put everything in its place, and the manifest last: without it, or with another, there is no corpus.

    Files of `work/` are copied. Links would halve the space, but not every file system has them, and whoever edits a
    file of the corpus in place would change what the next run builds on.
    """
    made = {
        name: {f"{number:05}.parquet": part / file for number, part in enumerate(written)}
        for name, file in FOLDERS.items()
    }
    if leaked is not None:
        made["contamination"] = {name: leaked / name for name in report.FILES}
    for name, parts in made.items():
        building = beside(folder, name)
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir()
        for file, path in parts.items():
            hashing.copy(path, building / file)
        hashing.sync(building)
    files = {
        f"{name}/{file}": found for name in made for file, found in hashing.hash_folder(beside(folder, name)).items()
    }
    lost = beside(folder, left_out.NAME)
    hashing.sync(lost)
    files[left_out.NAME] = [lost.stat().st_size, hashing.file_hash(lost)]
    manifest = {
        "format_version": FORMAT_VERSION,
        "jaxlm": jaxlm.__version__,
        "libraries": libraries.versions(*libraries.of(cfg)),
        "config": redact.values(told_config(cfg)),
        "inputs": redact.values(inputs),
        "stages": redact.values(facts),
        "summary": redact.values(told),
        "files": files,
        "digest": tasks.key(files),
    }
    for name in (MANIFEST, *DATASHEETS):  # which tell of what was there
        (folder / name).unlink(missing_ok=True)
    os.replace(lost, folder / left_out.NAME)
    shutil.rmtree(folder / "contamination", ignore_errors=True)  # of a run that looked for leaks
    for name in made:
        shutil.rmtree(folder / name, ignore_errors=True)
        os.rename(beside(folder, name), folder / name)
    hashing.sync(folder)
    hashing.write_atomically(folder / MANIFEST, hashing.seal(manifest))
    return Corpus(folder, manifest)
