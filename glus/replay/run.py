"""Makes a run again and compares it."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

from glus.errors import BusyError, GlusError, InputError, name_some
from glus.execution.ties import tied
from glus.pipeline.dvc_lock import mend_lock
from glus.pipeline.passport import Passport
from glus.replay.comparison import Replayed, compare
from glus.replay.workspace import COPIES, DVC, workspace

logger = logging.getLogger(__name__)


def replay(project: Path, passport: Passport, first: str) -> Replayed:
    """Computes a run anew from a step on, in a copy below `.dvc/tmp/replays`, and compares.

    The copy is removed if all is equal, else it stays to be looked at. Interrupted, the same call goes on in it.

    Args:
        first: the first step to compute; what the ones before it made comes from DVC's cache, by digest.

    Raises:
        InputError: the passport is of code that no commit holds, or none that is here, or says too little.
        BusyError: the same replay is under way.
        GlusError: a step failed.
        KeyboardInterrupt: Ctrl-C or SIGTERM; what was finished is kept.
    """
    _refuse_dirty(passport)
    (project / COPIES).mkdir(parents=True, exist_ok=True)
    with (project / COPIES / f"{passport.digest}-{first}.lock").open("w") as guard:
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(f"Another process replays {passport.digest} already.") from error
        folder = workspace(project, passport, first)
        _reproduce(folder, project)
        replayed = compare(passport, folder)
        if replayed.results:
            logger.info("%s is kept to be looked at; remove it before the same replay is made anew.", folder)
        else:
            shutil.rmtree(folder)
        return replayed


def _refuse_dirty(passport: Passport) -> None:
    if passport.code.commit is None:
        raise InputError("The run was made outside of a git checkout, so no commit says which code made it.")
    if passport.code.dirty:
        raise InputError(
            f"The run was made with files that differ from commit {passport.code.commit[:12]}"
            f" ({name_some(passport.code.changed)}) and their differences are not stored, so it cannot be made again."
            " Commit them, run `dvc repro` once more, and replay that run."
        )


def _reproduce(folder: Path, project: Path) -> None:
    """Every step anew, though DVC may have its results: otherwise a replay would compare them with themselves."""
    mend_lock(folder)
    command = subprocess.Popen(
        [*DVC, "repro", "--no-run-cache"],
        cwd=folder,
        stdout=sys.stderr,
        env=os.environ | {"DVC_ROOT": str(project.resolve())},
        preexec_fn=tied(),
    )
    with command:
        try:
            code = command.wait()
        except BaseException:
            command.terminate()
            raise
    if code != 0:
        raise GlusError(
            f"`dvc repro` in {folder} ended with exit code {code}; the lines above say why. What was finished is kept"
            " there; the same command goes on from there."
        )
