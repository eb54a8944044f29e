"""Finds the passport that a person names: a file, the folder of a run, or a run of the project's MLflow store."""

from __future__ import annotations

import re
from pathlib import Path

from glus.errors import InputError
from glus.pipeline.passport import PASSPORT, Passport, read_passport

RUN_ID = re.compile(r"[0-9a-f]{32}")
ARTIFACTS = Path("mlartifacts")


def find_passport(project: Path, run: str) -> Passport:
    """Reads the passport of a run.

    Args:
        run: a passport, a folder that holds one (or `runs/passport.json`), or MLflow's id of a run.

    Raises:
        InputError: there is none, or it is damaged.
    """
    named = Path(run)
    places = [named / PASSPORT.name, named / PASSPORT] if named.is_dir() else [named]
    if RUN_ID.fullmatch(run) and not named.exists():
        places = sorted((project / ARTIFACTS).glob(f"*/{run}/artifacts/{PASSPORT.name}"))
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise InputError(
            f"{run} names no passport: expected a file such as {PASSPORT}, a folder that holds one, or the id of a run"
            f" whose files lie in {ARTIFACTS}/. Of a run in another MLflow store, download passport.json (`mlflow"
            " artifacts download`) and name that."
        )
    return read_passport(found)
