"""The process that writes to MLflow, and the only import of it."""

from __future__ import annotations

import fcntl
import json
import logging
import math
import os
import platform
import signal
import sys
import textwrap
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import psutil

from glus.execution.ties import end_with_parent
from glus.pipeline.delivery import BusyDatabaseError, Delivery, PictureError, RefusedError, UnavailableError
from glus.pipeline.machine_load import sample_load
from glus.pipeline.mlflow_store import (
    MEND_URI,
    database_file,
    deleted_experiment,
    examine,
    tracking_uri,
    unreachable,
    without_password,
)
from glus.pipeline.outbox import Outbox
from glus.pipeline.project import project_root
from glus.pipeline.spool import Message, unsent

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Run

ARTIFACTS = Path("mlartifacts")  # where MLflow's server looks for them, unless it is told otherwise
ARTIFACTS_SCHEME = "mlflow-artifacts"
EXECUTION_TAG = "glus.execution"
PROCESS_TAG = "glus.process"
KIND = {"mlflow.experimentKind": "custom_model_development"}  # opens as training, not as chats with a language model
SECONDS_AT_ONCE = 60.0  # a step that fails sooner, and has measured nothing, has not begun
SECONDS_IF_ORPHANED = 6.0  # when the step is gone
PARAMETERS_PER_BATCH, VALUES_PER_BATCH = 100, 1000  # MLflow's limits
LONGEST_VALUE = 6000  # MLflow cuts longer ones
STATUS = {"done": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}


class Uploader:
    """Carries out messages in order. The run begins with the first value, the end, or a minute of work.

    A step that stops at once, as for bad input, so leaves no empty run behind.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self.imported = threading.Event()  # MLflow, by the thread that carries messages out
        self._client: MlflowClient | None = None
        self._experiment_id = ""
        self._description: Message = {}
        self._run: Run | None = None
        self._found: Run | None = None  # as it was before this step joined it

    def handle(self, message: Message) -> None:
        """Carries out one message.

        Raises:
            RefusedError: MLflow will not take this run.
            UnavailableError: it cannot be reached just now; the message may be given again.
        """
        actions: dict[str, Callable[..., None]] = {
            "begin": self._begin,
            "at work": self._at_work,
            "load": self._load,
            "metrics": self._metrics,
            "artifact": self._artifact,
            "finish": self._finish,
        }
        with _sorted_errors(self._uri):
            self.imported.set()
            actions[message["kind"]](**{key: value for key, value in message.items() if key != "kind"})

    def _begin(self, experiment: str, **description: Any) -> None:
        from mlflow import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.CRITICAL)  # it prints tracebacks of what is told in one line here
        self._description, self._run, self._found = description, None, None
        with _one_at_a_time(self._uri):
            if database_file(self._uri) is not None and (problem := examine(self._uri, experiment).problem):
                raise RefusedError(problem)
            self._client = MlflowClient(tracking_uri=self._uri)
            self._experiment_id = self._find_experiment(experiment)
        self._end_abandoned_runs()

    def _find_experiment(self, name: str) -> str:
        client = self._connected()
        found = client.get_experiment_by_name(name)
        if found is None:
            # relative to the server, or to the project (see `_folder_of`), so that a copied project keeps its own
            location = f"{ARTIFACTS_SCHEME}:/{name}" if database_file(self._uri) is not None else None
            return str(client.create_experiment(name, artifact_location=location, tags=KIND))
        if found.lifecycle_stage == "deleted":
            raise RefusedError(deleted_experiment(name, found.experiment_id, self._uri))
        for key, value in KIND.items():
            if key not in found.tags:
                client.set_experiment_tag(found.experiment_id, key, value)
        return str(found.experiment_id)

    def _end_abandoned_runs(self) -> None:
        """Marks runs of this machine as killed whose step is gone without a word, as after a power cut."""
        client = self._connected()
        for run in client.search_runs([self._experiment_id], "attributes.status = 'RUNNING'"):
            process = run.data.tags.get(PROCESS_TAG)
            if process is not None and _is_gone(process):
                client.set_terminated(run.info.run_id, STATUS["interrupted"])

    def _at_work(self) -> None:
        self._running()

    def _load(self, values: dict[str, float], time: float) -> None:
        """How busy the machine is, over the run's own time; for the charts that MLflow calls system metrics."""
        if self._run is not None:
            seconds = max(0, int(time - self._run.info.start_time / 1000))
            named = {f"system/{name}": value for name, value in values.items()}
            self._metrics([{"values": named, "step": seconds, "time": time}])

    def _metrics(self, rows: list[dict[str, Any]]) -> None:
        from mlflow.entities import Metric

        finite = [
            Metric(key, value, int(row["time"] * 1000), row["step"])
            for row in rows
            for key, value in row["values"].items()
            if math.isfinite(value)
        ]
        run_id = self._running().info.run_id
        for start in range(0, len(finite), VALUES_PER_BATCH):
            self._connected().log_batch(run_id, metrics=finite[start : start + VALUES_PER_BATCH])

    def _artifact(self, path: str, folder: str | None) -> None:
        run = self._running()
        try:
            if database_file(self._uri) is None:
                self._connected().log_artifact(run.info.run_id, path, folder)
            else:
                self._store(path, _folder_of(run), folder)
        except FileNotFoundError as error:
            raise PictureError(f"{path} is not sent to MLflow: it is gone.") from error

    def _store(self, path: str, target: Path, folder: str | None) -> None:
        from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

        LocalArtifactRepository(str(target)).log_artifact(path, folder)

    def _finish(self, status: str, time: float) -> None:
        if self._run is None and status == STATUS["failed"] and self._find_run() is None:
            return
        run, end = self._running(), int(time * 1000)
        before = self._found
        if before is not None and (before.info.end_time or 0) > end:  # told late: a later step has ended meanwhile
            status, end = before.info.status, before.info.end_time
        self._connected().set_terminated(run.info.run_id, status, end)

    def _running(self) -> Run:
        """The run of this execution, begun where there is none yet."""
        if self._run is None:
            client, about = self._connected(), self._description
            tags = {EXECUTION_TAG: about["execution"], PROCESS_TAG: about["process"]}
            self._found = self._find_run()
            run = self._found or client.create_run(
                self._experiment_id, start_time=int(about["started"] * 1000), tags=tags, run_name=about["name"]
            )
            self._describe(run)
            self._run = run
            answer = {"run_id": run.info.run_id, "experiment_id": run.info.experiment_id}
            answer["uri"] = without_password(self._uri)
            with suppress(BrokenPipeError):  # the step has been killed; its run is still to be marked
                os.write(sys.stdout.fileno(), f"{json.dumps(answer)}\n".encode())
        return self._run

    def _find_run(self) -> Run | None:
        client, about = self._connected(), self._description
        if about["run_id"] is not None:
            return client.get_run(about["run_id"])
        for execution in filter(None, (about["execution"], about["resumes"])):
            tag = f"tags.`{EXECUTION_TAG}` = '{execution}'"
            if found := client.search_runs([self._experiment_id], tag, max_results=1):
                return found[0]
        return None

    def _describe(self, run: Run) -> None:
        from mlflow.entities import Param

        client, run_id, about = self._connected(), run.info.run_id, self._description
        client.set_tag(run_id, PROCESS_TAG, about["process"])
        if about["run_id"] is None:  # the steps after this one find the run that this one continues
            client.set_tag(run_id, EXECUTION_TAG, about["execution"])
        client.update_run(run_id, status="RUNNING")
        known = run.data.params
        new = [Param(key, value[:LONGEST_VALUE]) for key, value in about["parameters"].items() if key not in known]
        for start in range(0, len(new), PARAMETERS_PER_BATCH):
            client.log_batch(run_id, params=new[start : start + PARAMETERS_PER_BATCH])
        for key, value in about["tags"].items():
            client.set_tag(run_id, key, value)
        client.log_inputs(run_id, [_dataset(**dataset) for dataset in about["datasets"]])

    def _connected(self) -> MlflowClient:
        assert self._client is not None
        return self._client


def _dataset(name: str, digest: str, read_by: str) -> DatasetInput:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = json.dumps({"path": name, "md5": digest})  # as dvc.lock names it; `dvc get` finds it by that
    return DatasetInput(Dataset(name, digest, "dvc", source), [InputTag("mlflow.data.context", read_by)])


def _folder_of(run: Run) -> Path:
    """Where a run's files lie when no server stores them.

    Raises:
        PictureError: the experiment names a folder outside of the project.
    """
    location = urlsplit(run.info.artifact_uri)
    folder = Path(unquote(location.path))
    if location.scheme == ARTIFACTS_SCHEME:  # as a server of this project would resolve it
        return (ARTIFACTS / folder.relative_to("/")).resolve()
    if folder.is_relative_to(Path.cwd()):
        return folder
    raise PictureError(
        f"The MLflow experiment of this run keeps its files in {folder}, outside of this project: the project has been"
        " copied or moved. No pictures are sent there; name another experiment in tracking.experiment."
    )


@contextmanager
def _one_at_a_time(uri: str) -> Iterator[None]:
    """Of two steps that begin at once, one writes the tables of a new database file, and the other waits for them."""
    file = database_file(uri)
    if file is None:
        yield
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.with_name(f".{file.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _sorted_errors(uri: str) -> Iterator[None]:
    """Makes of MLflow's many errors one that says whether to try again."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        text, uri = without_password(str(error)), without_password(uri)
        if "database is locked" in text:
            raise BusyDatabaseError(f"MLflow's database {uri} is locked by another process.") from error
        if "failed with exception" in text:  # MLflow's words for no connection
            raise UnavailableError(unreachable(uri, _cause(text))) from error
        if getattr(error, "error_code", "") == "TEMPORARILY_UNAVAILABLE":
            raise UnavailableError(f"MLflow at {uri} is out of order: {_first_line(text)}.") from error
        raise RefusedError(f"MLflow at {uri} refuses this run: {_first_line(text)}. {MEND_URI}") from error


def _cause(text: str) -> str:
    """What lies at the bottom of a failed connection, e.g. `connection refused`."""
    known = ("Connection refused", "Failed to resolve", "timed out", "No route to host")
    return next((words.lower() for words in known if words in text), _first_line(text))


def _first_line(text: str) -> str:
    return textwrap.shorten(text.partition("\n")[0], 300, placeholder=" ...").rstrip(".")


def process_key(process: psutil.Process) -> str:
    """Names a process so that no later one has the same name: machine, id, start."""
    return f"{platform.node()}:{process.pid}:{process.create_time():.2f}"


def _is_gone(key: str) -> bool:
    """Whether a process of this machine has ended; of other machines nothing is known."""
    host, _, rest = key.rpartition(":")[0].rpartition(":")
    if host != platform.node():
        return False
    try:
        process = psutil.Process(int(rest))
        return process_key(process) != key or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def upload(lines: Iterable[str], step: int) -> None:
    """Reads messages until `finish` or the end of the pipe, which means that the step was killed.

    Args:
        step: process id of the step; what is left when it has ended gets a few seconds.
    """
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # standard output is for the answer
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # `Delivery` tries again
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    for number in (signal.SIGINT, signal.SIGTERM):  # the step tells how it ended, or the pipe does
        signal.signal(number, signal.SIG_IGN)
    end_with_parent(step, SECONDS_IF_ORPHANED)
    os.chdir(project_root())  # what is relative belongs to the project, not to an experiment's copy of it
    uri = tracking_uri()
    outbox = Outbox(uri)
    left = [(spool, message) for spool, messages in unsent(uri) for message in messages]
    uploader = Uploader(uri)
    worker = threading.Thread(target=Delivery(outbox.letters, uploader, left).run)
    worker.start()
    at_work = threading.Timer(SECONDS_AT_ONCE, outbox.put, [{"kind": "at work"}])
    at_work.daemon = True
    at_work.start()
    threading.Thread(target=sample_load, args=[outbox.put, uploader.imported], daemon=True).start()
    for line in lines:  # read at once: a full pipe would hold up the step
        outbox.put(json.loads(line))
    outbox.close(STATUS["interrupted"])
    worker.join()


if __name__ == "__main__":
    upload(sys.stdin, int(sys.argv[1]))
