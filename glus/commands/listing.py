"""How the commands are listed by `--help`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from typer.core import TyperGroup


class Listed(TyperGroup):
    """A group whose help shows the whole first sentence of each of its commands."""

    def sections(self) -> Mapping[str, Iterable[str]]:
        """Names of commands by heading, in the order in which they are shown."""
        return {"Commands": [name for name, command in self.commands.items() if not command.hidden]}

    def format_commands(self, _: Any, formatter: Any) -> None:
        """Typer calls this."""
        for title, names in self.sections().items():
            with formatter.section(title):
                formatter.write_dl([(name, self.commands[name].get_short_help_str(limit=200)) for name in names])
