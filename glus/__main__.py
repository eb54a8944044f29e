"""`python -m glus`, and the installed command `glus`."""

import signal

from glus.execution.ties import end_hard, tie_to_parent


def main() -> None:
    """Runs the command line, tied to who started it; the imports take a while, and Ctrl-C may come meanwhile."""
    heard = signal.getsignal(signal.SIGINT)
    if heard is signal.default_int_handler:  # not where whoever started this has it ignored
        signal.signal(signal.SIGINT, lambda *_: end_hard("Interrupted; nothing had begun."))
    tie_to_parent()

    from glus.cli import main as run

    signal.signal(signal.SIGINT, heard)
    run()


if __name__ == "__main__":
    main()
