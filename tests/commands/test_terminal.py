"""What commands show on a terminal of 80 columns, where there is none, and without colours."""

import io
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from local_imports import ROOT
from rich.console import Console
from tiny_sets import ANSWERS, write_masks, write_mevis
from typer.main import get_command

from glus.cli import app
from glus.commands.output import print_table
from glus.execution import progress
from glus.pipeline.table import STEPS

Run = Callable[..., tuple[int, str, str]]
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
NUMBERS = [f"{number}0.25" for number in range(12)]
PARTS = dict.fromkeys(("weights", "gradients", "optimiser", "activations", "libraries"), 1 << 38)
NEEDS = {
    "parameters": {"total": 7_000_000_000, "trained": {"lora": 4_000_000}},
    "memory": dict.fromkeys(("training", "labelling", "selecting", "segmenting"), PARTS),
    "room": {"name": "this machine", "bytes": 1 << 34, "shared": True},
    "does_not_fit": {"training": []},
    "samples": 240_000,
    "samples_per_second": 0.9,
    "disk": {"models/glus": 1 << 31},
    "missing": [],
}
SETS = ("--dataset", "mevis", "--split", "valid_u", "--root", "data")


@pytest.fixture
def narrow(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.parametrize("width", [80, 60, 200])
def test_a_table_fits_and_loses_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    names = [f"of_measure_{number}" for number in range(12)]
    rows = [[("starts_grey [SEG]", *NUMBERS)], [("size of the target", *NUMBERS[::-1])]]
    print_table(["", *names], rows)
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= width
    assert "…" not in out
    assert all(out.split().count(number) == 2 for number in NUMBERS)
    assert "starts_grey [SEG]" in " ".join(out.split())
    tables = out.count("measure_") // 12 and len(re.findall("─+", out))
    assert (tables == 1) == (width == 200)


@pytest.mark.parametrize(
    "command",
    [
        ("score", *SETS, "--predictions", "masks"),
        ("score", *SETS, "--predictions", "masks", "--protocol", "mosev2"),
        ("compare", "masks", "masks", *SETS),
        ("plan", "--preset", "glus_s"),
    ],
    ids=lambda command: " ".join(command),
)
def test_tables_of_commands_fit_80_columns(
    run: Run, narrow: None, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setattr("glus.commands.plan._needs", lambda *_: NEEDS)
    write_mevis(Path("data"))
    write_masks(Path("masks"), ANSWERS)
    code, out, errors = run(*command)
    assert code == 0, errors
    _, heading, *rows = re.split(r"(?m)^((?:.+\n){1,2})─+$", out)
    assert max(map(len, [*heading.splitlines(), *rows[-1].splitlines()[:3]])) <= 80
    assert "…" not in out and not ESCAPE.search(out)


@pytest.mark.parametrize("name", [*get_command(app).commands])
def test_help_fits_80_columns(run: Run, narrow: None, name: str) -> None:
    _, out, _ = run(name, "--help")
    assert max(map(len, out.splitlines())) <= 80
    assert "..." not in out.partition("Options:")[2].replace("]...", "")  # no sentence is cut off


def test_help_shows_every_command_in_the_order_of_work(run: Run, narrow: None) -> None:
    _, out, _ = run("--help")
    named = re.findall(r"^  (\w+)  ", out.partition("Before a run:")[2], re.MULTILINE)
    assert sorted(named) == sorted(name for name, command in get_command(app).commands.items() if not command.hidden)
    steps = [step.name for step in STEPS]
    assert named[named.index("stage") :][: len(steps)] == steps
    assert named.index("plan") < named.index("stage") < named.index("evaluate") < named.index("report")


def started(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, which says at its end whether torch was imported."""
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print('torch' in sys.modules, file=sys.stderr))\n"
        "sys.argv[0] = 'glus'\n"
        "from glus.cli import main\n"
        "main()"
    )
    command = [sys.executable, "-c", code, *arguments]
    clean = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    return subprocess.run(command, cwd=ROOT, env=clean | environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("pro", {"propagate"}),
        ("segment --pre", {"--precision"}),
        ("export co", {"coco"}),
        ("params --pres", {"--preset"}),
    ],
)
def test_the_shell_completes_without_torch(typed: str, completed: set[str]) -> None:
    words = f"glus {typed}"
    done = started(_GLUS_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(len(words.split()) - 1))
    assert (set(done.stdout.split()), done.stderr) == (completed, "False\n")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_is_written_whatever_shell_asks(shell: str) -> None:
    assert f"_GLUS_COMPLETE=complete_{shell}" in started(_GLUS_COMPLETE=f"source_{shell}").stdout


def test_no_colours_where_none_are_wanted(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    monkeypatch.setenv("NO_COLOR", "1")
    print_table(["[red]a", "b"], [[("x", "1.5")]])
    out = capsys.readouterr().out
    assert not re.search(r"\x1b\[[0-9;]*[349][0-9]", out)  # bold is no colour
    assert "[red]a" in ESCAPE.sub("", out) and "1.5" in out


@pytest.mark.parametrize("width", [80, 120])
def test_a_bar_shows_all_its_numbers(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    written = io.StringIO()
    monkeypatch.setattr(progress, "console", Console(file=written, force_terminal=True, width=width))
    description = "selector: held-out videos segmented from key frames"
    assert list(progress.show_progress("ab", description, total=1000, done=502, unit="frames")) == ["a", "b"]
    last = ESCAPE.sub("", written.getvalue()).split("\r")[-1].splitlines()[0]
    assert len(last) <= width
    assert "504/1000" in last and "left" in last and "…" not in last.partition("504/1000")[2]
