"""Shards as runs of `glus/shard` on a worker: the same bytes, a killed one asked for again, cancelled with the step."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psutil
import pytest
from local_imports import ROOT
from patience import SECONDS, all_gone, comes_true
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.settings import PREFECT_API_URL, temporary_settings
from toy_pieces import content, environment, kill_once, lose_machine, made, squares

from experiments.many_agents import prefect_server
from glus.errors import InputError
from glus.execution.shards import signs
from glus.execution.shards import spread as spreading
from glus.execution.shards.prefect_engine import open_cluster
from glus.execution.shards.request import Requests
from glus.execution.shards.spread import spread
from glus.execution.ties import tied

EXPECTED = [f"{number**2}\n".encode() * 1000 for number in range(8)]
PREFECT = [sys.executable, "-m", "prefect", "--no-prompt"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A server, and the environment of those who use it."""
    home = tmp_path_factory.mktemp("server") / "home"
    with prefect_server(home) as url, temporary_settings({PREFECT_API_URL: url}):
        yield environment() | {
            "PREFECT_API_URL": url, "PREFECT_HOME": str(tmp_path_factory.mktemp("home")),
            "PREFECT_WORKER_QUERY_SECONDS": "1", "PREFECT_LOGGING_TO_API_ENABLED": "false",
        }  # fmt: skip


@pytest.fixture(scope="module")
def worker(server: dict[str, str]) -> Iterator[None]:
    """The deployment of prefect.yaml, and a worker for two shards at a time."""
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="shards", type="process"))
    command = [*PREFECT, "deploy", "--name", "shard"]
    subprocess.run(command, cwd=ROOT, env=server, check=True, capture_output=True)
    with one_more_worker(server):
        yield


@contextmanager
def one_more_worker(server: dict[str, str]) -> Iterator[None]:
    command = [*PREFECT, "worker", "start", "--pool", "shards", "--type", "process", "--limit", "2"]
    process = subprocess.Popen(
        command, cwd=ROOT, env=server, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=tied()
    )
    try:
        yield
    finally:
        process.kill()  # its runs have ended, and end by themselves where they have not
        process.wait()


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(spreading, "SECONDS_TO_SAY_SO", SECONDS)  # else a run that is slow to end is cancelled


def states(client: SyncPrefectClient) -> list[str]:
    return sorted(run.state.type.value for run in client.read_flow_runs() if run.state)


def test_without_a_deployment_the_step_says_what_to_do(server: object) -> None:
    with pytest.raises(InputError, match=r"has no deployment glus/shard; run `prefect deploy --all`"):
        list(spread(squares(3), 1, open_cluster))


def test_a_worker_makes_the_same_though_a_shard_is_killed(worker: object, caplog: pytest.LogCaptureFixture) -> None:
    list(spread(squares(8, partial(kill_once, 6)), 3, open_cluster))
    assert content(squares(8)) == EXPECTED
    assert sorted(made()) == list(range(8))
    assert "A shard was lost (Failed: The shard ended with exit code 137" in caplog.text
    with get_client(sync_client=True) as client:
        assert states(client) == ["COMPLETED", "COMPLETED", "COMPLETED", "FAILED"]


STEP = """
import signal, sys
from toy_pieces import squares, wait
from glus.execution.shards.prefect_engine import open_cluster
from glus.execution.shards.spread import spread
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
list(spread(squares(8, wait), 4, open_cluster))
"""


def test_the_runs_of_a_step_that_is_stopped_are_cancelled(worker: object, server: dict[str, str]) -> None:
    step = subprocess.Popen([sys.executable, "-c", STEP], env=server)
    assert comes_true(lambda: Path("at-work").exists() or step.poll() is not None)
    at_work = psutil.Process(int(Path("at-work").read_text()))
    step.terminate()
    assert step.wait(SECONDS) == 1
    assert all_gone([at_work])
    with get_client(sync_client=True) as client:
        assert comes_true(lambda: not {"RUNNING", "CANCELLING", "SCHEDULED", "PENDING"} & set(states(client)))
        assert states(client).count("CANCELLED") == 4


def test_the_shards_of_a_lost_machine_go_to_another(
    worker: object, server: dict[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(signs, "SECONDS_TO_BELIEVE", 60.0)
    with one_more_worker(server):
        list(spread(squares(8, partial(lose_machine, 6, os.getpid())), 2, open_cluster))
    assert content(squares(8)) == EXPECTED
    times = Counter(made())
    assert times.keys() == set(range(8))
    lost = caplog.text.count("A shard was lost")  # each had one piece in hand at most; what it had finished is kept
    assert lost > 0 and times.total() - len(times) <= lost


def test_what_is_asked_for_twice_is_one_run(worker: object) -> None:
    """Prefect's client asks again where the server is slow to answer."""
    shard = Requests(squares(3)).write([0])
    with open_cluster() as cluster:
        first, again = (cluster.submit(shard, 0) for _ in range(2))
        cluster.cancel([first])
    assert first == again
