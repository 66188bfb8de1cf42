"""Every verb on a tiny run, watched: no file's content becomes a program, and no secret is kept or told."""

import http.server
import json
import os
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from jaxlm.cli import VERBS
from jaxlm.config import dump
from jaxlm.corpus.config import CorpusConfig, SourceConfig
from tests import tiny_run
from tests.corpus.test_pipeline import text
from tests.faults.injector import ROOT
from tests.faults.watched import CANARY

UNWATCHED = {  # verb -> why no command below has it
    "launch": "starts `train`, which is watched, in processes of its own",
    "plan": "compiles the step of a config, and reads nothing else",
    "verify-resume": "starts `train` and `launch`",
}
FORMS = (  # {} is another secret each
    "https://ann:{}@127.0.0.1:1/a.jsonl", "https://{}@127.0.0.1:1/b.jsonl", "s3://KEY:{}@bucket/c",
    "http://127.0.0.1:1/d?X-Amz-Signature={}", "http://127.0.0.1:1/e?x=1&sig={}&y=2", "http://127.0.0.1:1/f?token={}",
    "http://127.0.0.1:1/g?access_token={}", "http://127.0.0.1:1/h?api_key={}", "http://127.0.0.1:1/i?AWSAccessKeyId={}",
    "http://127.0.0.1:1/j#id_token={}", "http://127.0.0.1:1/k?X-Goog-Signature={}", "http://127.0.0.1:1/l?auth={}",
    "password={}", "api_key: {}", "Authorization: Bearer {}", "secret_access_key='{}'", "client-secret = {}",
)  # fmt: skip
TOKENS = (
    "AKIA{:A<16}", "ghp_{:a<36}", "github_pat_{:a<30}", "glpat-{:a<20}", "hf_{:a<34}", "sk-{:a<40}", "xoxb-{:a<20}",
)  # fmt: skip
VARIABLES = ("AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "WANDB_API_KEY", "DB_PASSWORD", "MY_SECRET", "AZURE_STORAGE_SAS")


class Watched(NamedTuple):
    folder: Path
    codes: list[int]
    events: list[str]
    commands: list[list[str]]
    secrets: list[str]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """(port, folder) of a web server of this machine."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "texts.jsonl").write_text("\n".join(json.dumps({"text": text(n)}) for n in range(3)))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def planted() -> tuple[list[str], list[str], dict[str, str]]:
    """(secrets, texts that hold one each, variables of the environment that hold the others)."""
    secret = lambda n: f"Canary{n:02}x7Qz9"
    texts = [form.format(secret(n)) for n, form in enumerate(FORMS)]
    known = [form.format(f"CANARY{n:02}" if form[0] == "A" else secret(n)) for n, form in enumerate(TOKENS, len(FORMS))]
    variables = {name: secret(n) for n, name in enumerate(VARIABLES, len(FORMS) + len(TOKENS))}
    secrets = [secret(n) for n in range(len(FORMS))] + known + [*variables.values()]
    return secrets, [*texts, *known, *variables.values()], variables


def write_configs(folder: Path, port: int, secrets: list[str], texts: list[str]) -> None:
    """A run, a corpus of a web address that has secrets, and labels; names and texts that are Python."""
    code = f"__import__('os').system('touch {CANARY}')"
    source = tiny_run.write_text(folder)
    source.write_text(source.read_text() + code + "\n")
    cfg = tiny_run.config(source, "loop.steps=2", "loop.eval_every=2", "loop.save_every=2", "loop.log_every=1",
                          "optimizer.schedule.warmup=1", "model.layers=1", "mesh.devices=1")  # fmt: skip
    (folder / "tiny.json").write_text(json.dumps(dump(cfg)))
    web = f"http://ann:{secrets[0]}@127.0.0.1:{port}/texts.jsonl?X-Amz-Signature={secrets[3]}&token={secrets[5]}"
    corpus = CorpusConfig(name="small", sources=(SourceConfig(name="web", path=web),))
    corpus = corpus.model_copy(
        update={"quality": tuple(q.model_copy(update={"languages": ()}) for q in corpus.quality)}
    )
    (folder / "small.json").write_text(json.dumps(dump(corpus)))
    (folder / "gone.json").write_text(json.dumps(dump(corpus)).replace(f":{port}/", ":1/"))
    rules = [{"kind": "words", "name": code, "vote": "tea", "words": ["tea"]}]
    (folder / "drinks.jsonl").write_text("\n".join(json.dumps({"text": one}) for one in ("tea", "water", *texts[:3])))
    labels = {"kind": "labels", "name": "drinks", "classes": ["tea", "water"], "source": "drinks.jsonl", "rules": rules,
              "model": {"kind": "majority"}}  # fmt: skip
    (folder / "drinks.json").write_text(json.dumps(labels))


@pytest.fixture(scope="module", params=["some", pytest.param("every", marks=pytest.mark.slow)])
def watched(request, tmp_path_factory, served) -> Watched:
    """`some` verbs need no jax, so that the fast suite has them."""
    folder = tmp_path_factory.mktemp("watched")
    secrets, texts, variables = planted()
    write_configs(folder, served, secrets, texts)
    commands = [
        ["configs"], ["label", "drinks.json"], ["prepare", "small.json", "--workers", "1"],
        ["verify", "corpora/small"], ["prepare", "gone.json", "--workers", "1"],
    ]  # fmt: skip
    if request.param == "every":
        out = ["--shards-dir", "shards"]
        commands += [
            ["train", "tiny.json", "--run-dir", "run", *out], ["eval", "run"],
            ["generate", "run", "--prompt", "nobody", "--tokens", "4", "--json"], ["verify", "run"],
            ["inspect", "run"], ["tokenizer", "run", "--html", "tokenizers.html"], ["export", "run", "theirs"],
            ["import", "theirs", "again"], ["report", "run"],
            *(["train", "tiny.json", "--run-dir", f"r{n}", *out, "--set", f"data.source={one}"]
              for n, one in enumerate(texts)),
        ]  # fmt: skip
    for name in ("cache", "tmp"):
        (folder / name).mkdir()
    environment = {**os.environ, **variables, "PYTHONPATH": str(ROOT), "JAXLM_ALLOCATOR": "off"}
    environment |= {"XDG_CACHE_HOME": str(folder / "cache"), "TMPDIR": str(folder / "tmp")}
    child = subprocess.run(
        [sys.executable, "-m", "tests.faults.watched"],
        input=json.dumps(commands), capture_output=True, text=True, cwd=folder, env=environment,
    )  # fmt: skip
    assert child.returncode == 0, child.stderr + (folder / "said.txt").read_text()
    told = json.loads(child.stdout)
    for name in ("tiny.json", "small.json", "gone.json", "drinks.jsonl", "drinks.json"):
        (folder / name).unlink()  # what the user wrote is hers
    return Watched(folder, told["codes"], told["events"], commands, secrets)


def is_mistake(command: list[str]) -> bool:
    return "gone.json" in command or "--set" in command


def test_each_command_does_what_it_is_for(watched):
    wanted = [2 if is_mistake(command) else 0 for command in watched.commands]
    assert watched.codes == wanted, (watched.folder / "said.txt").read_text()
    if len(watched.commands) > 9:
        assert {command[0] for command in watched.commands} | UNWATCHED.keys() == VERBS.keys()


def test_no_content_of_a_file_becomes_a_program(watched):
    assert watched.events == []
    assert not [path for path in watched.folder.rglob(CANARY)]


def test_no_secret_is_kept_or_told(watched):
    assert len(watched.secrets) == 30 and len({*watched.secrets}) == 30
    places = [path for path in watched.folder.rglob("*") if path.is_file()]
    assert {"manifest.json", "datasheet.html", "report.json", "said.txt"} <= {path.name for path in places}
    leaks = [
        f"{secret} in {path.relative_to(watched.folder)}"
        for path in places for content in [path.read_bytes()] for secret in watched.secrets
        if secret.encode() in content
    ]  # fmt: skip
    assert leaks == []


def test_the_watcher_sees_every_kind_of_event(tmp_path):
    child = subprocess.run(
        [sys.executable, "-m", "tests.faults.watched", "--test"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    wanted = {"pickle.find_class", "marshal.loads", "exec", "compile", "os.system", "subprocess.Popen", "socket.bind",
              "open"}  # fmt: skip
    assert wanted <= {*json.loads(child.stdout)}
