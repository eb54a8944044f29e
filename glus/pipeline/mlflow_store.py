"""Where MLflow keeps the runs, and whether it will take one: looked at without importing it."""

from __future__ import annotations

import base64
import json
import os
import re
import sqlite3
import sys
import urllib.parse
import urllib.request
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from urllib.error import HTTPError

STORE = "sqlite:///mlflow.db"
MIGRATIONS = "store/db_migrations/versions"  # in MLflow's package, one file for each schema
SECONDS_TO_ANSWER = 3.0
MEND_URI = "Start the server (`make serve`), or set or unset MLFLOW_TRACKING_URI."


@dataclass(frozen=True)
class StoreState:
    """What is known of a store.

    Attributes:
        client: version of the installed MLflow.
        server: version of the server, None for a database file.
        schema: of the database file, None for a server and for a file that is not there yet.
        problem: why no run can be written and what to do, None where all is well.
    """

    client: str
    server: str | None = None
    schema: str | None = None
    problem: str | None = None


def tracking_uri() -> str:
    """`MLFLOW_TRACKING_URI`, else the project's own database file."""
    return os.environ.get("MLFLOW_TRACKING_URI") or STORE


def without_password(text: str) -> str:
    """A text whose addresses name neither user nor password, as it may be shown and written down."""
    return re.sub(r"(\w+://)[^/@\s]*@", r"\1", text)


def examine(uri: str, experiment: str) -> StoreState:
    """Looks whether a store can take runs of an experiment; a path in `uri` counts from the working folder."""
    try:
        client = version("mlflow")
    except PackageNotFoundError:
        return StoreState("not installed", problem="mlflow is not installed; run `make setup`.")
    if uri.startswith(("http://", "https://")):
        return _examine_server(uri, experiment, client)
    file = database_file(uri)
    return StoreState(client) if file is None else _examine_file(file, uri, experiment, client)


def database_file(uri: str) -> Path | None:
    """The file of an SQLite store; None for other stores."""
    found = re.fullmatch(r"sqlite:///([^?]+)(\?.*)?", uri)
    return Path(found[1]) if found else None


def deleted_experiment(name: str, experiment_id: str, uri: str) -> str:
    """Why no run can be written to an experiment that was deleted, and the command that brings it back."""
    command = f"{_program()} experiments restore --experiment-id {experiment_id}"
    return (
        f"The MLflow experiment {name!r} was deleted. Bring it back with `MLFLOW_TRACKING_URI={_absolute(uri)}"
        f" {command}`, or name another one in tracking.experiment."
    )


def _examine_file(file: Path, uri: str, experiment: str, client: str) -> StoreState:
    if not file.exists() or file.stat().st_size == 0:
        return StoreState(client)
    schema = None
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as database:
            schema = _schema(database)
            problem = _schema_problem(schema, file, uri, client)
            if problem is None and (deleted := _deleted_id(database, experiment)):
                problem = deleted_experiment(experiment, deleted, uri)
    except sqlite3.OperationalError:  # locked just now, or not readable: MLflow itself will tell
        problem = None
    except sqlite3.DatabaseError as error:
        problem = (
            f"{file} is damaged ({error}). Put a copy of it back, or move it away (`mv {file} {file}.damaged`), and the"
            " next step begins a new one."
        )
    return StoreState(client, schema=schema, problem=problem)


def _schema(database: sqlite3.Connection) -> str | None:
    tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "alembic_version" not in tables:
        return "none" if tables else None
    row = database.execute("SELECT version_num FROM alembic_version").fetchone()
    return row[0] if row else "none"


def _schema_problem(schema: str | None, file: Path, uri: str, client: str) -> str | None:
    known, newest = _installed_schemas()
    if schema is None or newest is None or schema == newest:
        return None
    if schema in known:
        return (
            f"{file} has the schema {schema} of an older MLflow; the installed {client} needs {newest}. Keep a copy of"
            f" the file, then run `{_program()} db upgrade {_absolute(uri)}`."
        )
    return (
        f"{file} has the schema {schema}, which the installed MLflow {client} does not know (its own is {newest}): a"
        " newer MLflow, or another program, has written it. Install that version of MLflow, or move the file away"
        f" (`mv {file} {file}.{schema}`), and the next step begins a new one."
    )


def _installed_schemas() -> tuple[set[str], str | None]:
    """The schemas that the installed MLflow can read or upgrade, and the one that it writes."""
    spec = find_spec("mlflow")
    if spec is None or spec.origin is None:
        return set(), None
    scripts = [path.read_text(encoding="utf-8") for path in (Path(spec.origin).parent / MIGRATIONS).glob("*.py")]
    known = {found for text in scripts for found in re.findall(r'^revision = "(\w+)"', text, re.M)}
    left = known - {found for text in scripts for found in re.findall(r'^down_revision = "(\w+)"', text, re.M)}
    return known, left.pop() if len(left) == 1 else None


def _deleted_id(database: sqlite3.Connection, experiment: str) -> str | None:
    """The id of a deleted experiment; None where it is active or not there."""
    query = "SELECT experiment_id FROM experiments WHERE name = ? AND lifecycle_stage = 'deleted'"
    row = database.execute(query, (experiment,)).fetchone()
    return str(row[0]) if row else None


def _examine_server(uri: str, experiment: str, client: str) -> StoreState:
    name = urllib.parse.quote(experiment)
    try:
        server = _get(f"{uri}/version")
        answer = _get(f"{uri}/api/2.0/mlflow/experiments/get-by-name?experiment_name={name}", missing="{}")
        found = json.loads(answer).get("experiment", {})
    except HTTPError as error:
        shown = without_password(uri)
        return StoreState(client, problem=f"{shown} answers, but not as an MLflow server does ({error}). {MEND_URI}")
    except (OSError, ValueError) as error:
        return StoreState(client, problem=unreachable(uri, getattr(error, "reason", error)))
    problem = _version_problem(client, server, without_password(uri))
    if found.get("lifecycle_stage") == "deleted":
        problem = deleted_experiment(experiment, found["experiment_id"], uri)
    return StoreState(client, server, problem=problem)


def _version_problem(client: str, server: str, uri: str) -> str | None:
    """Every minor release changes the schema, and what client and server say to each other."""
    if client.split(".")[:2] == server.split(".")[:2]:
        return None
    return (
        f"The MLflow server {uri} has version {server}, the installed client {client}. Install the server's version"
        " here (constraints.txt, then `make setup`), or move the server: all agents and the server go together."
    )


def unreachable(uri: str, reason: object) -> str:
    """Why a server is not used, and what to do."""
    return f"The MLflow server {without_password(uri)} does not answer ({reason}). {MEND_URI}"


def _get(url: str, missing: str | None = None) -> str:
    """What a server answers; `missing` where it says that there is no such thing."""
    request = urllib.request.Request(without_password(url), headers=_credentials(url))
    try:
        with urllib.request.urlopen(request, timeout=SECONDS_TO_ANSWER) as answer:
            return answer.read().decode()
    except HTTPError as error:
        if missing is not None and b"RESOURCE_DOES_NOT_EXIST" in error.read():
            return missing
        raise


def _credentials(url: str) -> dict[str, str]:
    """What MLflow's own client would send: by name and password, of the address or the environment, or by a token."""
    named = urllib.parse.urlsplit(url)
    user = urllib.parse.unquote(named.username or "") or os.environ.get("MLFLOW_TRACKING_USERNAME")
    password = urllib.parse.unquote(named.password or "") or os.environ.get("MLFLOW_TRACKING_PASSWORD", "")
    if user:
        return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token else {}


def _absolute(uri: str) -> str:
    """The store by a name that holds in every working folder."""
    file = database_file(uri)
    return without_password(uri) if file is None else f"sqlite:///{file.resolve()}"


def _program() -> Path:
    return Path(sys.executable).parent / "mlflow"
