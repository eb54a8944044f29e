"""The command line: exit code 0 done, 1 failed, 2 bad usage or bad input; errors are one paragraph on stderr."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from glus.commands import (
    ablate,
    check,
    compare,
    doctor,
    export,
    own,
    params,
    plan,
    replay,
    report,
    score,
    segment,
    shard,
    sources,
    steps,
    weights,
)
from glus.commands.app import app as page
from glus.commands.listing import Listed
from glus.errors import GlusError, LostProcessError, is_out_of_memory
from glus.execution.endings import Cause, ExitReport
from glus.files import write_refusal
from glus.pipeline.table import STEPS

TRACEBACK = Path(".glus/traceback.txt")
INTERRUPTED = 130  # what typer makes of KeyboardInterrupt

SECTIONS = {  # what `glus --help` shows, in the order of work
    "Before a run": ("doctor", "params", "check", "plan"),
    "The seven steps (`dvc repro` runs those that are stale)": tuple(step.name for step in STEPS),
    "After a run": ("report", "ablate", "replay", "score", "compare", "export"),
    "Your own videos": ("segment", "app", "own"),
    "Checkpoints": ("weights",),
}


class _InOrderOfWork(Listed):
    def sections(self) -> Mapping[str, Iterable[str]]:
        return SECTIONS


app = typer.Typer(
    cls=_InOrderOfWork,
    help="GLUS: referring video object segmentation, from staged data to a results table.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
COMMANDS: tuple[Callable[..., None], ...] = (
    doctor.doctor,
    params.params,
    check.check,
    plan.plan,
    report.report,
    ablate.ablate,
    replay.replay,
    score.score,
    compare.compare,
    segment.segment,
    page,
)
for command in COMMANDS:
    app.command()(command)
steps.register(app)
app.command(hidden=True)(sources.sources)
app.command(hidden=True)(shard.shard)
app.add_typer(weights.app, name="weights")
app.add_typer(export.app, name="export")
app.add_typer(own.app, name="own")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"glus {version('glus')}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks; goes anywhere.")] = False,
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and ends the process with its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    debug = "--debug" in arguments or bool(os.environ.get("GLUS_DEBUG"))
    os.environ.setdefault("DO_NOT_TRACK", "true")
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("glus").setLevel(logging.INFO)
    ending = _run([argument for argument in arguments if argument != "--debug"], debug)
    if ending.code and not ending.tell() and ending.message:
        _complain(ending.message)
    sys.exit(ending.code)


def _run(arguments: list[str], debug: bool) -> ExitReport:
    """The exit code of a command, and what to say where it is not 0."""
    try:
        code = app(args=arguments, prog_name="glus", standalone_mode=False) or 0
    except KeyboardInterrupt:  # before typer listens
        code = INTERRUPTED
    except TyperException as error:
        return _ending(error, error.exit_code, f"{error.format_message()} See `glus --help`.")
    except GlusError as error:
        if debug:
            traceback.print_exc()
        return _ending(error, error.exit_code, str(error))
    except Exception as error:  # the last stop: whatever happened, the user reads one paragraph
        if debug:
            traceback.print_exc()
        return _ending(error, 1, _last_words(error))
    if code == INTERRUPTED:
        return ExitReport(Cause.INTERRUPTED, code=1, message=_interrupted(arguments[0]))
    return ExitReport(Cause.FAILED, code=code)


def _ending(error: Exception, code: int, message: str) -> ExitReport:
    cause = Cause.UNFORESEEN
    if isinstance(error, LostProcessError):
        cause = Cause.LOST_ANOTHER
    elif isinstance(error, GlusError | TyperException):
        cause = Cause.BAD_INPUT if code == 2 else Cause.FAILED
    return ExitReport(cause, code=code, message=message)


def _last_words(error: Exception) -> str:
    """One paragraph about an error that no command has foreseen."""
    if refusal := write_refusal(error):
        return f"{refusal.why} ({error}). {refusal.remedy} and start again."
    if is_out_of_memory(error):
        return f"the machine has too little memory ({error}). Close other programs and start again."
    return f"{type(error).__name__}: {error}{_keep_traceback()}"


def _interrupted(command: str) -> str:
    """What Ctrl-C leaves: these keep their pieces, every other command writes all or nothing."""
    if command in {*(step.name for step in STEPS), "segment", "ablate", "replay"}:
        return "Interrupted. What was finished is kept; the same command resumes from there."
    return "Interrupted. Nothing was written; the same command starts anew."


def _keep_traceback() -> str:
    """Writes the traceback of an unforeseen error aside, so that a long run's end can be understood."""
    try:
        TRACEBACK.parent.mkdir(exist_ok=True)
        TRACEBACK.write_text(traceback.format_exc(), encoding="utf-8")
    except OSError:
        return ""
    return f" (unforeseen; the traceback is in {TRACEBACK})"


def _complain(message: str) -> None:
    try:
        print(f"glus: {' '.join(message.split())}", file=sys.stderr, flush=True)
    except BrokenPipeError:  # the terminal or the parent is gone; the exit code still tells
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
