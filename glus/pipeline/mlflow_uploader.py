"""The process that writes to MLflow, and the only import of it."""

from __future__ import annotations

import json
import logging
import math
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glus.execution.ties import end_with_parent

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)

STORE = "sqlite:///mlflow.db"
ARTIFACTS = Path("mlartifacts")
EXECUTION_TAG = "glus.execution"
RETRY_DELAYS = (0.0, 1.0, 3.0, 8.0)
PARAMETERS_PER_BATCH = 100  # MLflow's limit
LONGEST_VALUE = 6000  # MLflow cuts longer ones
SECONDS_TO_FINISH = 6.0  # when the step is gone
STATUS = {"done": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}


class Uploader:
    """Carries out messages in order, each with a few retries; gives up on the rest once the server stays away."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._client: MlflowClient | None = None
        self._run_id = ""
        self._given_up = False

    def handle(self, message: dict[str, Any]) -> None:
        """Carries out one message."""
        actions: dict[str, Callable[..., None]] = {
            "begin": self._begin,
            "metrics": self._metrics,
            "artifact": self._artifact,
            "finish": self._finish,
        }
        action = actions[message.pop("kind")]
        if not self._given_up:
            self._attempt(action, message)

    def _attempt(self, action: Callable[..., None], arguments: dict[str, Any]) -> None:
        from mlflow.exceptions import MlflowException

        for delay in RETRY_DELAYS:
            time.sleep(delay)
            try:
                return action(**arguments)
            except (MlflowException, OSError) as error:
                reason = str(error).splitlines()[0]
        self._given_up = True
        logger.warning("MLflow at %s is not usable, this step is not tracked (%.200s)", self._uri, reason)
        return None

    def _begin(
        self,
        experiment: str,
        name: str,
        execution: str,
        run_id: str | None,
        parameters: dict[str, str],
        tags: dict[str, str],
    ) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Param

        client = self._client = MlflowClient(tracking_uri=self._uri)
        if run_id is None:
            experiment_id = self._experiment(client, experiment)
            found = client.search_runs([experiment_id], f"tags.`{EXECUTION_TAG}` = '{execution}'", max_results=1)
            run_id = found[0].info.run_id if found else None
        if run_id is None:
            run_id = client.create_run(experiment_id, tags={EXECUTION_TAG: execution}, run_name=name).info.run_id
        client.update_run(run_id, status="RUNNING")
        run = client.get_run(run_id)
        new = [Param(key, value[:LONGEST_VALUE]) for key, value in parameters.items() if key not in run.data.params]
        for start in range(0, len(new), PARAMETERS_PER_BATCH):
            client.log_batch(run_id, params=new[start : start + PARAMETERS_PER_BATCH])
        for key, value in tags.items():
            client.set_tag(run_id, key, value)
        self._run_id = run_id
        answer = {"run_id": run_id, "experiment_id": run.info.experiment_id, "uri": self._uri}
        with suppress(BrokenPipeError):  # the step has been killed; its run is still to be marked
            os.write(sys.stdout.fileno(), f"{json.dumps(answer)}\n".encode())

    def _experiment(self, client: MlflowClient, name: str) -> str:
        found = client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        location = (ARTIFACTS / name).resolve().as_uri() if self._uri.startswith("sqlite:") else None
        return str(client.create_experiment(name, artifact_location=location))

    def _metrics(self, values: dict[str, float], step: int, time: float) -> None:
        from mlflow.entities import Metric

        finite = [Metric(key, value, int(time * 1000), step) for key, value in values.items() if math.isfinite(value)]
        assert self._client is not None
        self._client.log_batch(self._run_id, metrics=finite)

    def _artifact(self, path: str, folder: str | None) -> None:
        assert self._client is not None
        self._client.log_artifact(self._run_id, path, folder)

    def _finish(self, status: str) -> None:
        assert self._client is not None
        self._client.set_terminated(self._run_id, status)


def upload(lines: Iterable[str], step: int) -> None:
    """Reads messages until `finish` or the end of the pipe, which means that the step was killed.

    Args:
        step: process id of the step; what is left when it has ended gets a few seconds.
    """
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # standard output is for the answer
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    for number in (signal.SIGINT, signal.SIGTERM):  # the step tells how it ended, or the pipe does
        signal.signal(number, signal.SIG_IGN)
    end_with_parent(step, SECONDS_TO_FINISH)
    messages: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
    worker = threading.Thread(target=_work, args=(messages,))
    worker.start()
    finished = False
    for line in lines:  # read at once: a full pipe would hold up the step
        message = json.loads(line)
        messages.put(message)
        finished = message["kind"] == "finish"
    if not finished:
        messages.put({"kind": "finish", "status": STATUS["interrupted"]})
    messages.put(None)
    worker.join()


def _work(messages: queue.SimpleQueue[dict[str, Any] | None]) -> None:
    logging.getLogger("alembic").setLevel(logging.WARNING)
    uploader = Uploader(os.environ.get("MLFLOW_TRACKING_URI") or STORE)
    while (message := messages.get()) is not None:
        uploader.handle(message)


if __name__ == "__main__":
    upload(sys.stdin, int(sys.argv[1]))
