"""What variants have in common is made once: each step's result under a name that its parameters decide.

The name is only a guess at who has made the same: DVC looks at what is taken over as at its own, and makes again what
is not. Big outputs lie in DVC's cache, which all copies share; kept here are a step's entry of `dvc.lock` and its small
files, which DVC does not cache.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

from glus.files import hash_json, replace_by_text
from glus.paths import RUNS
from glus.pipeline.sources import derived_state
from glus.pipeline.table import STEPS
from glus.pipeline.versions import LOCK
from glus.publishing import publish

if TYPE_CHECKING:
    from glus.config import Config

ENTRY = "entry.yaml"
FILES = "files"
SHELF = "shelf"  # lock of all that is kept: held for a moment, while something is put there or taken


def step_keys(config: Config) -> dict[str, str]:
    """What each step makes, named by its parameters and those of the steps before it."""
    keys: dict[str, str] = {}
    for step in STEPS:
        decides = [list(keys.values()), config.parameters(step.parameters), derived_state(step, config)]
        keys[step.name] = f"{step.name}-{hash_json(decides)[:16]}"
    return keys


class Made:
    """The results of steps, by key.

    Args:
        folder: theirs, of one project.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def has(self, key: str) -> bool:
        """Whether somebody has made it."""
        return (self._folder / key / ENTRY).is_file()

    @contextmanager
    def claimed(self, key: str) -> Iterator[bool]:
        """Holds a step against others that would make the same, once they have made it; whether it is there then."""
        with self._held(key):
            yield self.has(key)

    @contextmanager
    def _held(self, name: str) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def keep(self, key: str, step: str, project: Path) -> None:
        """Keeps what a step has left in a project; what DVC has not recorded is not kept."""
        entry = read_lock(project).get(step)
        if entry is None:
            return
        with self._held(SHELF), TemporaryDirectory(dir=self._folder, prefix=f"{key}.") as scratch:
            source = Path(scratch) / key
            for name in _files(step, entry, project):
                _copy(project / name, source / FILES / name)
            source.mkdir(exist_ok=True)
            _dump(entry, source / ENTRY)
            publish(source, self._folder / key)

    def take(self, keys: dict[str, str], project: Path) -> None:
        """Writes steps into a project's `dvc.lock`, with their small files; `dvc checkout` brings the others.

        Args:
            keys: step -> key of what is kept.
        """
        recorded = read_lock(project)
        with self._held(SHELF):
            for step, key in keys.items():
                kept = self._folder / key
                recorded[step] = YAML(typ="safe", pure=True).load((kept / ENTRY).read_text(encoding="utf-8"))
                for file in (kept / FILES).rglob("*"):
                    if file.is_file():
                        _copy(file, project / file.relative_to(kept / FILES))
        _dump({"schema": "2.0", "stages": recorded}, project / LOCK)


def read_lock(project: Path) -> dict[str, Any]:
    """The stages that `dvc.lock` records."""
    file = project / LOCK
    if not file.is_file():
        return {}
    return dict((YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8")) or {}).get("stages", {}))


def _files(step: str, entry: dict[str, Any], project: Path) -> list[str]:
    """Outputs of a step that are single files (metrics and plots), and the record of what it cost."""
    paths = [*(str(out["path"]) for out in entry.get("outs", [])), f"{RUNS}/{step}.json"]
    return [path for path in paths if (project / path).is_file()]


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)  # it may be a link of DVC's into its cache
    shutil.copy(source, target)


def _dump(values: dict[str, Any], path: Path) -> None:
    text = StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.dump(values, text)
    replace_by_text(path, text.getvalue())
