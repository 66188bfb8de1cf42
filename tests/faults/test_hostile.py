"""Files made to harm are refused in one line, soon, in little memory, and nothing is written where it should not be.

Every file is opened as a user would open it, by a process that lives as long as there are files of its kinds: what it
costs to start is nobody's fault, and a crash ends it and names the file.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults import hostile_tokenizers
from tests.faults.hostile_case import Good
from tests.faults.injector import ROOT

CPU_SECONDS, GROWN_BYTES = 2.0, 300_000_000
CASES = [*hostile_tokenizers.CASES]


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Good:
    from jaxlm.data import tokenizer as tokenizers
    from jaxlm.data.tokenizer_config import SentencePieceConfig

    root = tmp_path_factory.mktemp("good")
    tokenizers.train(SentencePieceConfig(vocab=270), ["hello hello"], seed=0).save(root / "tokenizer")
    return Good(root / "model", root / "run", root / "shards", root / "tokenizer", root / "corpus")


def opened(cases, good, folder, warm=()):
    """(case, answer) of each; the answer is None of one that ended the process, and of those after it."""
    asked = []
    for number, case in enumerate(cases):
        inside, out = folder / str(number) / "in", folder / str(number) / "out"
        inside.mkdir(parents=True)
        out.mkdir()
        case.make(inside, good)
        asked.append(json.dumps({"kind": case.kind, "folder": str(inside), "out": str(out)}))
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
    (folder / "cache").mkdir()
    child = subprocess.run(
        [sys.executable, "-m", "tests.faults.opened", json.dumps(list(warm))],
        input="\n".join(asked), capture_output=True, text=True, cwd=ROOT, env=environment,
    )  # fmt: skip
    answers = [json.loads(line) for line in child.stdout.splitlines()]
    print(child.stderr[-2000:])
    return list(zip(cases, answers + [None] * (len(cases) - len(answers)), strict=True))


def test_all(good, tmp_path):
    for case, answer in opened(CASES, good, tmp_path):
        bad = answer is None or answer["outcome"] not in case.ends or answer["seconds"] > CPU_SECONDS or answer["grown"] > GROWN_BYTES or answer["written"]
        print("BAD" if bad else "ok ", case.kind, "|", case.name, "|", answer and (answer["outcome"], answer["seconds"], answer["grown"] >> 20, answer["written"], answer["message"][-700 if bad else 0:][:700 if bad else 150]))
