"""Sources from stores, web servers and standard input."""

import functools
import http.server
import io
import json
import sys
import threading
from pathlib import Path

import fsspec
import pytest

from jaxlm.corpus import remote, sample
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
    found = local("memory://bucket", ("*.txt", "*.jsonl"), tmp_path, SILENT).path
    assert held(found) == {"a.txt": b"one", "sub/b.jsonl": b'{"text": "two"}'}
    monkeypatch.setattr(type(store), "get_file", lambda *_, **__: pytest.fail("was copied again"))
    assert local("memory://bucket", ("*.txt", "*.jsonl"), tmp_path, SILENT).path == found


def test_what_changed_is_copied_again_and_what_went_goes(store, tmp_path):
    found = local("memory://bucket", (), tmp_path, SILENT).path
    store.rm("/bucket/c.bin")
    store.pipe("/bucket/a.txt", b"another")
    assert local("memory://bucket", (), tmp_path, SILENT).path == found
    assert held(found) == {"a.txt": b"another", "sub/b.jsonl": b'{"text": "two"}'}


def test_one_file_of_a_store_keeps_its_name(store, tmp_path):
    assert local("memory://bucket/sub/b.jsonl", (), tmp_path, SILENT).path.name == "b.jsonl"


def test_a_file_that_would_lie_elsewhere_is_refused(store, tmp_path, monkeypatch):
    monkeypatch.setattr(type(store), "find", lambda *_, **__: {"/bucket/../../../escaped.txt": {}})
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


class Web:
    """Stands for fsspec's HTTPFileSystem, whose library need not be there: {address: (bytes, headers it tells)}."""

    def __init__(self) -> None:
        self.pages, self.asked = {}, []

    def isdir(self, address: str) -> bool:
        return b"href" in self.pages.get(address, (b"",))[0]

    def exists(self, address: str) -> bool:
        return address in self.pages

    def find(self, address: str, detail: bool) -> dict:
        return {one: {"size": None} for one in self.pages if one != address}

    def info(self, address: str) -> dict:
        data, headers = self.pages[address]
        return {"name": address, "size": len(data), "type": "file", **headers}

    def ukey(self, address: str) -> str:
        return address

    def get_file(self, address: str, to: str) -> None:
        self.asked.append(address)
        Path(to).write_bytes(self.pages[address][0])


@pytest.fixture
def web(monkeypatch):
    store = Web()
    monkeypatch.setattr(fsspec.core, "url_to_fs", lambda address: (store, address))
    return store


@pytest.mark.parametrize("header", ["ETag", "Last-Modified", "size"])
def test_a_page_that_changed_is_copied_again_and_no_other(header, web, tmp_path):
    address, same = "https://host/a.txt", {} if header != "size" else {"ETag": "same"}
    for data, times in ((b"one", 1), (b"one", 1), (b"another", 2)):
        web.pages[address] = (data, same or {header: str(len(data))})
        assert local(address, (), tmp_path, SILENT).path.read_bytes() == data and len(web.asked) == times


def test_a_page_without_a_version_is_copied_each_time(web, tmp_path):
    for data in (b"one", b"two"):
        web.pages["https://host/a.txt"] = (data, {})
        assert local("https://host/a.txt", (), tmp_path, SILENT).path.read_bytes() == data


def test_a_page_with_links_is_one_file_with_the_suffix_of_what_it_is(web, tmp_path):
    page = b"<a href='/other.html'>other</a>"
    web.pages = {"https://host/wiki/Tea?old=1": (page, {"mimetype": "text/html"}), "https://host/other.html": (b"", {})}
    found, count = local("https://host/wiki/Tea?old=1", (), tmp_path, SILENT)
    assert (found.name, found.read_bytes(), count) == ("Tea.html", page, 1)


def test_an_address_that_ends_in_a_slash_is_a_folder_of_what_lies_below_it(web, tmp_path):
    texts = ("https://host/texts/a.txt", "https://host/texts/sub/b.txt")
    for address in (*texts, "https://host/texts/", "https://host/texts/?C=N", "https://host/else.txt"):
        web.pages[address] = (b"href", {})
    found, count = local("https://host/texts/", (), tmp_path, SILENT)
    assert held(found) == {"a.txt": b"href", "sub/b.txt": b"href"} and count == 2


def test_a_real_server_is_asked(tmp_path):
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "a.txt").write_text("from the web")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found = local(f"http://127.0.0.1:{server.server_port}/a.txt", (), tmp_path, SILENT).path
        server.shutdown()
    assert found.read_text() == "from the web"


def test_what_was_copied_before_an_error_is_not_copied_again(store, tmp_path, monkeypatch):
    get, asked = type(store).get_file, []

    def one_at_a_time(self, remote, to, **how):
        asked.append(remote)
        if remote.endswith("jsonl") and len(asked) == 3:
            raise OSError("the line is down")
        get(self, remote, to, **how)

    monkeypatch.setattr(remote, "_AT_ONCE", 1)
    monkeypatch.setattr(type(store), "get_file", one_at_a_time)
    with pytest.raises(UserError, match="the line is down"):
        local("memory://bucket", (), tmp_path, SILENT)
    local("memory://bucket", (), tmp_path, SILENT)
    assert sorted(asked) == ["/bucket/a.txt", "/bucket/c.bin", "/bucket/sub/b.jsonl", "/bucket/sub/b.jsonl"]


def test_the_list_of_versions_is_not_written_for_each_file(store, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(remote, "write_atomically", lambda path, data: written.append(data))
    store.pipe({f"/bucket/{n}.txt": b"text" for n in range(20)})
    local("memory://bucket", (), tmp_path, SILENT)
    assert len(written) < 5 and len(json.loads(written[-1])) == 23


def test_only_what_is_chosen_is_copied_and_all_is_counted(store, tmp_path):
    store.pipe({f"/bucket/{n}.txt": bytes(1 << 20) for n in range(20)})
    found, count = local("memory://bucket", ("*.txt",), tmp_path, SILENT, sample.choose_whole)
    assert count == 21 and 4 <= len(held(found)) <= 6


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
            found.append(local(path, (), tmp_path, SILENT).path)
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
