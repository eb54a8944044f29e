"""What MLflow is told: in order, once it answers, also by a later step; and nothing that is secret is written down."""

from pathlib import Path

import pytest

from glus.pipeline.delivery import Delivery, RefusedError, UnavailableError
from glus.pipeline.mlflow_store import without_password
from glus.pipeline.outbox import Outbox
from glus.pipeline.spool import UNSENT, Message, unsent

URI = "http://ann:secret@127.0.0.1:5000"


class Server:
    """Notes what it is told while it is there, in one word each."""

    def __init__(self) -> None:
        self.there = True
        self.refuses = ""
        self.told: list[str] = []
        self.rows: list[Message] = []  # of metrics

    def handle(self, message: Message) -> None:
        if not self.there:
            raise UnavailableError("It is away.")
        if message.get("execution") == self.refuses:
            raise RefusedError("Not this one.")
        self.told.append(message.get("execution", message["kind"]))
        self.rows += message.get("rows", [])


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.chdir(tmp_path)
    return Server()


def step(server: Server, name: str, *kinds: str, uri: str = URI) -> None:
    """What the uploader of a step does with its messages."""
    outbox = Outbox(uri)
    for message in ({"kind": "begin", "execution": name}, *({"kind": kind} for kind in kinds)):
        outbox.put(message)
    outbox.close("KILLED")
    left = [(spool, each) for spool, messages in unsent(uri) for each in messages]
    Delivery(outbox.letters, server, left).run()
    for spool in {outbox._spool, *(spool for spool, _ in left)}:
        spool._file.close()  # frees the lock, as the end of the process does


def test_steps_while_a_server_is_away_are_told_by_the_next_one_in_order(server: Server) -> None:
    server.there = False
    step(server, "one", "metrics", "finish")
    step(server, "two", "metrics")  # killed: it does not say how it ended
    step(server, "elsewhere", "finish", uri="http://127.0.0.1:6000")
    assert server.told == []
    server.there = True
    step(server, "three", "metrics", "finish")
    assert server.told == ["one", "metrics", "finish", "two", "metrics", "finish", "three", "metrics", "finish"]
    assert len(list(UNSENT.iterdir())) == 1
    step(server, "four", "finish", uri="http://127.0.0.1:6000")
    assert server.told[9:] == ["elsewhere", "finish", "four", "finish"]
    assert list(UNSENT.iterdir()) == []


def test_values_that_wait_are_sent_at_once_and_in_order(server: Server) -> None:
    values: list[Message] = [{"values": {"train/loss": 0.5}, "step": step, "time": 1.0} for step in range(5)]
    outbox = Outbox(URI)
    for message in ({"kind": "begin"}, *({"kind": "metrics"} | value for value in values[:4]), {"kind": "at work"}):
        outbox.put(message)
    outbox.put({"kind": "metrics"} | values[4])
    outbox.close("KILLED")
    Delivery(outbox.letters, server).run()
    assert server.told == ["begin", "metrics", "at work", "metrics", "finish"]
    assert server.rows == values


def test_a_step_that_is_refused_does_not_hold_up_the_others(server: Server) -> None:
    server.there = False
    step(server, "refused", "metrics", "finish")
    server.there, server.refuses = True, "refused"
    step(server, "next", "finish")
    assert server.told == ["next", "finish"]
    assert list(UNSENT.iterdir()) == []


def test_what_one_process_is_sending_no_other_sends_too(server: Server) -> None:
    outbox = Outbox(URI)
    outbox.put({"kind": "begin"})
    assert list(unsent(URI)) == []
    outbox.close("KILLED")


def test_a_line_that_a_power_cut_has_cut_off_is_left_out(server: Server) -> None:
    server.there = False
    step(server, "one", "metrics", "finish")
    file = next(UNSENT.glob("*/messages.jsonl"))
    file.write_text(file.read_text()[:-20])
    server.there = True
    step(server, "two", "finish")
    assert server.told == ["one", "metrics", "finish", "two", "finish"]


def test_no_password_is_written_down(server: Server) -> None:
    server.there = False
    step(server, "one", "finish")
    assert not any(b"secret" in path.read_bytes() for path in UNSENT.rglob("*") if path.is_file())
    assert without_password("at postgresql+psycopg2://a:b%40@db:5432/x and http://h/p@q") == (
        "at postgresql+psycopg2://db:5432/x and http://h/p@q"
    )
