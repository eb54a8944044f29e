"""The copy of the project in which a variant is made: its code, parameters of its own, the same DVC cache."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import contextmanager
from pathlib import Path

from glus.errors import InputError, name_some
from glus.pipeline.passport import PASSPORT, write_passport
from glus.pipeline.versions import LOCK

COPIES = Path(".glus/ablations")
CODE = "glus"
ALONGSIDE = ("dvc.yaml", ".dvcignore")


def require_clone(project: Path) -> None:
    """A folder is the root of a clone, whose code can be copied.

    Raises:
        InputError: it is none; names what it lacks.
    """
    if missing := [name for name in (CODE, *ALONGSIDE) if not (project / name).exists()]:
        raise InputError(
            f"{project} has no {name_some(missing)}: each variant is made in a copy of the project. Start `glus"
            " ablate` in the root of a clone."
        )


@contextmanager
def workspace(project: Path, name: str, parameters: str) -> Iterator[Path]:
    """The copy of a name, which one process at a time has to itself; made, or brought up to date.

    What an interrupted run has left there stays, for DVC and the steps to go on from.

    Args:
        name: of the variant and its seed, a relative path.
        parameters: text of its `params.yaml`.
    """
    folder = project / COPIES / "work" / name
    folder.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder.mkdir(exist_ok=True)  # who had it before has removed it
        shutil.rmtree(folder / CODE, ignore_errors=True)
        shutil.copytree(project / CODE, folder / CODE, ignore=shutil.ignore_patterns("__pycache__"))
        for file in ALONGSIDE:
            shutil.copy2(project / file, folder)
        (folder / "params.yaml").write_text(parameters, encoding="utf-8")
        _set_up_dvc(project, folder)
        yield folder


def leave_result(folder: Path, target: Path) -> None:
    """Leaves what a finished variant is known by: metrics, parameters, what DVC has recorded, its passport."""
    target.mkdir(parents=True)
    shutil.copytree(folder / "metrics", target / "metrics")
    for file in ("params.yaml", LOCK):
        shutil.copy2(folder / file, target)
    write_passport(folder, target / PASSPORT.name)


def _set_up_dvc(project: Path, folder: Path) -> None:
    """A DVC repository without git, on the project's cache, linking files as the project does."""
    theirs = ConfigParser(interpolation=None)
    theirs.read([project / ".dvc" / "config", project / ".dvc" / "config.local"], encoding="utf-8")
    ours = ConfigParser(interpolation=None)
    ours["core"] = {"analytics": "false", "check_update": "false", "no_scm": "true"}
    ours["cache"] = dict(theirs["cache"]) if theirs.has_section("cache") else {}
    ours["cache"]["dir"] = str((project / ".dvc" / ours["cache"].get("dir", "cache")).resolve())
    (folder / ".dvc" / "tmp").mkdir(parents=True, exist_ok=True)
    with (folder / ".dvc" / "config").open("w", encoding="utf-8") as file:
        ours.write(file)
