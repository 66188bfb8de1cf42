"""Files made to harm are refused in one line, soon, in little memory, and nothing is written where it should not be.

Every file is opened as a user would open it, by a process that lives as long as there are files: what it costs to start
is nobody's fault, and a crash ends it and names the file. The fast suite opens some tokenizers and texts, which need no
jax; `make test-slow` opens all.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxlm.corpus.pipeline import make
from jaxlm.data import tokenizer as tokenizers
from jaxlm.data.shards import Writer, commit
from jaxlm.data.tokenizer_config import SentencePieceConfig
from jaxlm.exchange import import_huggingface
from jaxlm.report import datasheet
from tests.corpus.test_pipeline import config, text
from tests.faults import hostile_models, hostile_runs, hostile_texts, hostile_tokenizers
from tests.faults.hostile_case import Case, Good
from tests.faults.injector import ROOT
from tests.test_exchange import model_folder

CPU_SECONDS, GROWN_BYTES = 2.0, 300_000_000  # at most, of each file
CASES = [*hostile_tokenizers.CASES, *hostile_models.CASES, *hostile_runs.CASES, *hostile_texts.CASES]
LIGHT = [case for case in CASES if not case.heavy and case.kind in ("tokenizer", "foreign_tokenizer", "text")]
MUST = {"a piece of 100,000 bytes", "a table that leads 2 GB away"}  # what crashed SentencePiece
SAMPLE = [case for number, case in enumerate(LIGHT) if number % 6 == 0 or case.name in MUST]


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Good:
    """Where the folders will be, and of them only what the sample needs: a tokenizer."""
    root = tmp_path_factory.mktemp("good")
    tokenizer = tokenizers.train(SentencePieceConfig(vocab=270), ["hello hello"], seed=0)
    tokenizer.save(root / "tokenizer")
    (root / "one.txt").write_text(text(1))
    return Good(root / "model", root / "run", root / "shards", root / "tokenizer", root / "planted")


@pytest.fixture(scope="module")
def every_good(good) -> Good:
    root, tokenizer = good.run.parent, tokenizers.load(good.tokenizer)
    model_folder(root / "model", "byte_level")
    import_huggingface(root / "model", root / "run")
    building, splits = root / "building", {}
    for split, documents in {"train": 40, "validation": 3, "test": 0}.items():
        with Writer(building, split, vocab=tokenizer.vocab, separator=tokenizer.separator) as writer:
            for number in range(documents):
                writer.add(np.full(1 + number % 7, 5), 9)
            splits[split] = writer.close()
    tokenizer.save(building / "tokenizer")
    commit(building, root / "shards", facts={"splits": splits, **tokenizer.facts()})
    made = make(config(root / "one.txt"), root)
    datasheet.write(made.folder, made.manifest)
    assert made.folder == good.corpus
    return good


def opened(cases: list[Case], good: Good, folder: Path) -> list[str]:
    """What is wrong with how each was opened; a good folder of each kind is opened first."""
    asked, warm = [], []
    for number, case in enumerate(cases):
        inside, out = folder / str(number) / "in", folder / str(number) / "out"
        inside.mkdir(parents=True)
        out.mkdir()
        case.make(inside, good)
        asked.append(json.dumps({"kind": case.kind, "folder": str(inside), "out": str(out)}))
    folders = {
        "tokenizer": good.tokenizer, "shards": good.shards, "corpus": good.corpus,
        "run": good.run, "report": good.run, "text": good.run.parent / "one.txt", "model": good.model,
    }  # fmt: skip
    for number, kind in enumerate(sorted({case.kind for case in cases} & folders.keys())):
        out = folder / f"warm{number}"
        out.mkdir()
        warm.append({"kind": kind, "folder": str(folders[kind]), "out": str(out)})
    (folder / "cache").mkdir()
    child = subprocess.run(
        [sys.executable, "-m", "tests.faults.opened", json.dumps(warm)],
        input="\n".join(asked), capture_output=True, text=True, cwd=ROOT,
        env={**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    answers = [json.loads(line) for line in child.stdout.splitlines()]
    wrong = [problem for case, answer in zip(cases, answers, strict=False) if (problem := fault(case, answer))]
    if len(answers) < len(cases):
        crashed = cases[len(answers)]
        wrong.append(f"{crashed.kind}, {crashed.name}: ended the process ({child.returncode}): {child.stderr[-2_000:]}")
    return wrong


def fault(case: Case, answer: dict) -> str | None:
    """What an answer should not be."""
    found = []
    if answer["outcome"] not in case.ends:
        found.append(f"{answer['outcome']} and not {' or '.join(case.ends)}")
    if answer["seconds"] > CPU_SECONDS:
        found.append(f"{answer['seconds']} s of CPU")
    if answer["grown"] > GROWN_BYTES:
        found.append(f"{answer['grown']:,} bytes of memory")
    if answer["written"]:
        found.append(f"wrote {answer['written']}")
    if answer["outcome"] == "refused" and ("Traceback" in answer["message"] or not answer["message"]):
        found.append("no message")
    return f"{case.kind}, {case.name}: {'; '.join(found)}: {answer['message'][-1_500:]}" if found else None


def test_there_are_many_and_each_has_a_name():
    names = [(case.kind, case.name) for case in CASES]
    assert len(CASES) >= 150 and len({*names}) == len(names)
    assert {case.name for case in SAMPLE} >= MUST


def test_some_hostile_files_are_refused_in_a_line(good, tmp_path):
    assert opened(SAMPLE, good, tmp_path) == []


@pytest.mark.slow
def test_every_hostile_file_is_refused_in_a_line(every_good, tmp_path):
    assert opened(CASES, every_good, tmp_path) == []
