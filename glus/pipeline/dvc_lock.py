"""DVC's own record of who reads and writes what, where a dvc that was killed has left it empty.

DVC empties `.dvc/tmp/rwlock` before it writes it. Killed in between, it leaves a file that every later dvc refuses
(3.67.1, `findings/dvc-torn-rwlock.sh`), though nobody holds anything any more.
"""

from __future__ import annotations

import fcntl
import json
from pathlib import Path

RECORD, GUARD = Path(".dvc/tmp/rwlock"), Path(".dvc/tmp/rwlock.lock")  # the guard is held while the record is edited


def lock_is_torn(project: Path) -> bool:
    """Whether a dvc that was killed has left the record unreadable; not while one is about to write it."""
    try:
        with (project / GUARD).open("a") as guard:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
            json.loads((project / RECORD).read_bytes())
    except json.JSONDecodeError:
        return True
    except OSError:  # there is none, or it is being edited
        return False
    return False


def mend_lock(project: Path) -> None:
    """Removes the record if it is torn, as one has to do by hand otherwise."""
    if lock_is_torn(project):
        (project / RECORD).unlink(missing_ok=True)
