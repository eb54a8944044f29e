"""How a process that was started beside others has ended: it tells who started them, who tells one reason for all.

The file is the one that torchrun names for it, so that torchrun shows the same paragraph.
"""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

TOLD_ELSEWHERE = "GLUS_TOLD_ELSEWHERE"  # set by a launcher of ours: the processes leave it to it to speak
ERROR_FILE = "TORCHELASTIC_ERROR_FILE"
SECONDS_TO_BE_SEEN = 5.0  # at most: torch's agent, which looks every 0.1 s, names whom it sees first and ends the rest


class Cause(IntEnum):
    """What ended a process; where several ended, the first of these is what it began with."""

    KILLED = 0
    BAD_INPUT = 1
    FAILED = 2
    UNFORESEEN = 3
    LOST_ANOTHER = 4
    INTERRUPTED = 5  # perhaps because another one had failed


@dataclass(frozen=True, order=True)
class ExitReport:
    """How a process has ended.

    Attributes:
        cause: see there.
        time: seconds since the epoch.
        code: exit code, negative for a signal.
        message: one paragraph, or nothing.
    """

    cause: Cause
    time: float = field(default_factory=time.time)
    code: int = 0
    message: str = ""

    def tell(self) -> bool:
        """Writes this down for who started the process; whether nobody is to speak of it here."""
        if path := os.environ.get(ERROR_FILE):
            content = {"message": self.message, "timestamp": self.time, "cause": self.cause.name, "code": self.code}
            Path(path).write_text(json.dumps(content), encoding="utf-8")
        if self.cause is Cause.LOST_ANOTHER:
            time.sleep(SECONDS_TO_BE_SEEN)
        return TOLD_ELSEWHERE in os.environ

    @classmethod
    def read(cls, code: int, file: str) -> ExitReport:
        """The ending of a process with this exit code, unless it has told another one in the file."""
        if code < 0:
            cause = Cause.INTERRUPTED if code == -signal.SIGTERM else Cause.KILLED
            return cls(cause, code=code)
        try:
            content = json.loads(Path(file).read_text(encoding="utf-8"))
            return cls(Cause[content["cause"]], content["timestamp"], content["code"], content["message"])
        except (OSError, ValueError, KeyError):  # ended in the middle of a wait, or with a bang
            return cls(Cause.INTERRUPTED if code == 1 else Cause.UNFORESEEN, code=code)
