"""The fresh copy in which a run is made again: its commit, its parameters, and the project's DVC cache."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from ruamel.yaml import YAML

from glus.errors import GlusError, InputError
from glus.pipeline.dvc_lock import mend_lock
from glus.pipeline.passport import PARAMETERS, Passport
from glus.pipeline.table import STEPS
from glus.pipeline.versions import LOCK, output_digests

COPIES = Path(".dvc/tmp/replays")  # where `glus.pipeline.project` knows copies of the project
DVC = (sys.executable, "-m", "dvc")


def workspace(project: Path, passport: Passport, first: str) -> Path:
    """The copy of a run, made, or as an interrupted replay has left it.

    Args:
        first: the first step to compute; what the ones before it have made is taken from the cache.

    Raises:
        InputError: the passport does not say enough, or its commit is not here.
        GlusError: what is to be taken over is not here.
    """
    folder = project / COPIES / f"{passport.digest}-{first}"
    if folder.is_dir():
        return folder
    before = _stages_before(passport, first)
    aside = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(aside, ignore_errors=True)
    aside.parent.mkdir(parents=True, exist_ok=True)
    try:
        _check_out(project, str(passport.code.commit), aside)
        _write_parameters(passport, aside)
        _share_cache(project, aside)
        _take_over(passport, before, aside)
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def _stages_before(passport: Passport, first: str) -> list[str]:
    names = [step.name for step in STEPS]
    before = names[: names.index(first)]
    if missing := [name for name in before if name not in passport.lock]:
        raise InputError(
            f"The passport does not say what {', '.join(missing)} made: DVC had not recorded it. Begin at an earlier"
            " step (`--from`), or leave `--from` out to compute everything."
        )
    return ["sources", *before] if before and "sources" in passport.lock else before


def _check_out(project: Path, commit: str, folder: Path) -> None:
    """A clone that borrows the project's objects, so that it takes no time and little space."""
    clone = ["git", "clone", "--quiet", "--shared", "--no-checkout", str(project.resolve()), str(folder)]
    for command in (clone, ["git", "-C", str(folder), "checkout", "--quiet", "--detach", commit]):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise InputError(
                f"Commit {commit[:12]} of the run cannot be checked out: {' '.join(done.stderr.split())}. If it was"
                " made in another clone, fetch it (`git fetch`) and start again."
            )


def _write_parameters(passport: Passport, folder: Path) -> None:
    """As they were, but for MLflow: a replay is no run to compare others with."""
    yaml = YAML()
    values = yaml.load(passport.parameters)
    values["tracking"]["enabled"] = False
    with (folder / PARAMETERS).open("w", encoding="utf-8") as file:
        yaml.dump(values, file)


def _share_cache(project: Path, folder: Path) -> None:
    cache = _dvc(["cache", "dir"], project).strip()
    _dvc(["config", "--local", "cache.dir", str((project / cache).resolve())], folder)


def _take_over(passport: Passport, before: list[str], folder: Path) -> None:
    """Puts in place what the steps before the first one made: from DVC's cache, and small texts from the passport."""
    (folder / LOCK).unlink(missing_ok=True)
    made = output_digests({name: passport.lock[name] for name in before})
    for name, metrics in passport.metrics.items():
        if name in made and metrics.text is not None:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(metrics.text.encode())
    if before:
        stages = {name: passport.lock[name] for name in before}
        with (folder / LOCK).open("w", encoding="utf-8") as file:
            YAML().dump({"schema": "2.0", "stages": stages}, file)
        mend_lock(folder)
        _dvc(["checkout", "--quiet", "--force", "--allow-missing", *before], folder)


def _dvc(arguments: list[str], folder: Path) -> str:
    done = subprocess.run([*DVC, *arguments], cwd=folder, capture_output=True, text=True)
    if done.returncode != 0:
        raise GlusError(f"`dvc {' '.join(arguments)}` in {folder} failed: {' '.join(done.stderr.split())}")
    return done.stdout
