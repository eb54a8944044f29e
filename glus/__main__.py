"""`python -m glus`, and the installed command `glus`."""

import os
import signal
import sys

from glus.execution.endings import TOLD_ELSEWHERE
from glus.execution.ties import PARENT, end_hard, leave, tie_to_parent


def main() -> None:
    """Runs the command line, tied to who started it; the imports take a while, and Ctrl-C may come meanwhile."""
    _fill_standard_streams()
    heard = signal.getsignal(signal.SIGINT)
    if heard is signal.default_int_handler:  # not where whoever started this has it ignored
        signal.signal(signal.SIGINT, lambda *_: end_hard("Interrupted; nothing had begun."))
    tie_to_parent()

    from glus.cli import main as run

    signal.signal(signal.SIGINT, heard)
    try:
        run()
    except SystemExit as ending:
        code = int(ending.code or 0)
        if code or TOLD_ELSEWHERE not in os.environ:  # who is told of processes that train together waits for them
            leave(code)


def _fill_standard_streams() -> None:
    """Puts /dev/null in the place of closed streams: the next file would get such a number, and what is said to it."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


if __name__ == "__main__":
    main()
elif __name__ == "__mp_main__" and PARENT in os.environ:  # a process that trains with others, before its imports
    tie_to_parent()
