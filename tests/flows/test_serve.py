"""The ports of `make serve`: chosen by the environment, used by all, and an error that says how when one is taken."""

import os
import signal
import socket
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL

from flows import serve


def test_a_port_that_is_taken_is_named_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setitem(serve.PORTS, "PREFECT_SERVER_API_PORT", str(port))
        problem = serve.port_problem()
        assert problem is not None
        assert f"port {port} is in use" in problem
        assert f"make serve PREFECT_SERVER_API_PORT={port % 65535 + 1}" in problem
        assert serve.main() == 1


def test_what_is_put_right_is_put_right_on_the_server_that_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def note(_: str) -> None:
        asked.append(PREFECT_API_URL.value())
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(serve, "LOGS", tmp_path)
    monkeypatch.setattr(serve, "PREFECT", "http://127.0.0.1:4399")
    for name in ("port_problem", "end_with_parent", "_start", "_wait_for", "_stop_all"):
        monkeypatch.setattr(serve, name, lambda *_: None)
    monkeypatch.setattr(serve, "crash_lost_flow_runs", note)
    assert serve.main() == 0
    assert asked == ["http://127.0.0.1:4399/api"]


@pytest.mark.parametrize(
    ("port", "named"),
    [
        ("many", "MLFLOW_PORT is 'many', expected a port number"),
        ("70000", "MLFLOW_PORT is '70000'"),
        (None, "PREFECT_SERVER_API_PORT and MLFLOW_PORT are both "),
    ],
)
def test_ports_that_cannot_be_are_refused(monkeypatch: pytest.MonkeyPatch, port: str | None, named: str) -> None:
    with socket.socket() as one, socket.socket() as other:  # bound, so that nobody else gets them, and not listening
        for bound, variable in zip((one, other), serve.PORTS, strict=True):
            bound.bind(("127.0.0.1", 0))
            monkeypatch.setitem(serve.PORTS, variable, str(bound.getsockname()[1]))
        assert serve.port_problem() is None
        monkeypatch.setitem(serve.PORTS, "MLFLOW_PORT", port or serve.PORTS["PREFECT_SERVER_API_PORT"])
        assert named in str(serve.port_problem())
