"""A scheduler that is not there, or no longer, is told at once and by its address."""

import socket

import pytest

from jaxlm.corpus import executor
from jaxlm.errors import UserError

distributed = pytest.importorskip("distributed")


class Silent:
    """A client, and its futures, of which none is ever done."""

    loop = None

    def __init__(self, *_, **__): ...

    def scheduler_info(self, **_) -> dict:
        return {"workers": {}}

    def submit(self, *_, **__) -> None: ...

    def is_empty(self) -> bool:
        return False

    def has_ready(self) -> bool:
        return False


def unused() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"tcp://127.0.0.1:{server.getsockname()[1]}"


def test_a_scheduler_that_ends_in_mid_run_is_told_with_its_address(monkeypatch, caplog):
    monkeypatch.setattr(distributed, "Client", Silent)
    monkeypatch.setattr(distributed, "as_completed", Silent)
    monkeypatch.setattr(executor, "_require_scheduler", lambda address: None)
    address = unused()
    engine = executor.Cluster(address)
    assert "has no worker yet" in caplog.text
    with pytest.raises(UserError, match=rf"--cluster {address}: no Dask scheduler answers .*what is done is kept"):
        list(engine.as_completed([engine.submit(len, ())]))


def test_an_address_where_nobody_or_somebody_else_listens_is_told(monkeypatch):
    monkeypatch.setattr(executor, "_PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(UserError, match=rf"--cluster {address}: no Dask scheduler answers .*`dask scheduler`"):
            executor.executor(1, address)
    for wrong in (unused(), "nonsense", "tcp://127.0.0.1", "tcp://127.0.0.1:99999"):
        with pytest.raises(UserError, match=rf"--cluster {wrong}: no Dask scheduler answers"):
            executor.executor(1, wrong)
