"""Sources from stores, web servers and standard input."""

import functools
import http.server
import io
import sys
import threading

import fsspec
import pytest

from jaxlm.corpus.config import CorpusConfig, SourceConfig
from jaxlm.corpus.remote import local
from jaxlm.errors import UserError

SILENT = lambda done, total, what: None


@pytest.fixture
def store():
    memory = fsspec.filesystem("memory")
    memory.pipe({"/bucket/a.txt": b"one", "/bucket/sub/b.jsonl": b'{"text": "two"}', "/bucket/c.bin": b"no"})
    yield memory
    memory.rm("/bucket", recursive=True)


def held(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_of_a_store_is_copied_once(store, tmp_path, monkeypatch):
    found = local("memory://bucket", ("*.txt", "*.jsonl"), tmp_path, SILENT)
    assert held(found) == {"a.txt": b"one", "sub/b.jsonl": b'{"text": "two"}'}
    monkeypatch.setattr(type(store), "get_file", lambda *_, **__: pytest.fail("was copied again"))
    assert local("memory://bucket", ("*.txt", "*.jsonl"), tmp_path, SILENT) == found


def test_what_changed_is_copied_again_and_what_went_goes(store, tmp_path):
    found = local("memory://bucket", (), tmp_path, SILENT)
    store.rm("/bucket/c.bin")
    store.pipe("/bucket/a.txt", b"another")
    assert local("memory://bucket", (), tmp_path, SILENT) == found
    assert held(found) == {"a.txt": b"another", "sub/b.jsonl": b'{"text": "two"}'}


def test_one_file_of_a_store_keeps_its_name(store, tmp_path):
    assert local("memory://bucket/sub/b.jsonl", (), tmp_path, SILENT).name == "b.jsonl"


def test_a_file_that_would_lie_elsewhere_is_refused(store, tmp_path, monkeypatch):
    monkeypatch.setattr(type(store), "find", lambda *_, **__: ["/bucket/../../../escaped.txt"])
    with pytest.raises(UserError, match=r"'\.\./\.\./\.\./escaped\.txt', which would lie outside its folder"):
        local("memory://bucket", (), tmp_path, SILENT)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("memory://nothing/here", "does not exist: check the address"),
        ("nosuch://bucket", "Protocol not known: nosuch"),
        ("s3://bucket/key", r"pip install 'jaxlm\[remote\]'|cannot be fetched"),
    ],
)
def test_what_cannot_be_had_is_told_in_one_line(path, reason, tmp_path):
    with pytest.raises(UserError, match=reason):
        local(path, (), tmp_path, SILENT)


def test_a_web_address_is_fetched(tmp_path):
    pytest.importorskip("aiohttp")
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "a.txt").write_text("from the web")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found = local(f"http://127.0.0.1:{server.server_port}/a.txt", (), tmp_path, SILENT)
        server.shutdown()
    assert found.read_text() == "from the web"


class Input:
    def __init__(self, data: bytes, terminal: bool = False):
        self.buffer, self._terminal = io.BytesIO(data), terminal

    def isatty(self) -> bool:
        return self._terminal


def test_standard_input_is_a_file_of_the_suffix_that_is_asked_for(tmp_path, monkeypatch):
    for path, name in (("-", "stdin.txt"), ("-.jsonl.gz", "stdin.jsonl.gz")):
        found = []
        for _ in range(2):
            monkeypatch.setattr(sys, "stdin", Input(b"some text"))
            found.append(local(path, (), tmp_path, SILENT))
        assert found[0] == found[1] and found[0].name == name and found[0].read_bytes() == b"some text"


@pytest.mark.parametrize(("given", "reason"), [(Input(b""), "nothing came in"), (Input(b"", True), "is a terminal")])
def test_no_standard_input_is_told(given, reason, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", given)
    with pytest.raises(UserError, match=reason):
        local("-", (), tmp_path, SILENT)


def test_two_sources_cannot_both_read_standard_input():
    twice = (SourceConfig(name="a", path="-"), SourceConfig(name="b", path="-.jsonl"))
    with pytest.raises(ValueError, match=r"sources 'a' and 'b' both read standard input"):
        CorpusConfig(name="x", sources=twice)
