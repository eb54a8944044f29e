"""Makes one variant of a table with one seed, from whatever others have made of it already."""

from __future__ import annotations

import json
import logging
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

from glus.ablations.paper import paper_values
from glus.ablations.sharing import Made, read_lock, step_keys
from glus.ablations.tables import Table, Variant
from glus.ablations.workspace import COPIES, leave_result, workspace
from glus.config import parse_config
from glus.config.editing import replaced
from glus.errors import ConfigError, GlusError
from glus.execution.ties import tied
from glus.files import hash_json, read_json
from glus.paths import EVALUATION_METRICS
from glus.pipeline.dvc_lock import mend_lock
from glus.pipeline.passport import PASSPORT
from glus.pipeline.provenance import score_metrics
from glus.pipeline.table import STEPS
from glus.pipeline.tracking import RunDescription, start_tracking
from glus.publishing import publish

if TYPE_CHECKING:
    from glus.config import Config

logger = logging.getLogger(__name__)

PARAMETERS = Path("params.yaml")
RESULTS = Path("ablations")
DVC = [sys.executable, "-m", "dvc", "--wait-for-lock"]


@dataclass(frozen=True)
class Run:
    """A variant with a seed.

    Attributes:
        origin: the parameter file that it changes.
    """

    table: Table
    variant: Variant
    seed: int
    origin: Path

    @property
    def name(self) -> str:
        """Its folder below `ablations/`."""
        return f"{self.table.folder}/{self.variant.name}/seed-{self.seed}"

    def parameters(self) -> str:
        """Text of its `params.yaml`.

        Raises:
            ConfigError: what it changes does not go with the rest.
        """
        try:
            return replaced(self.origin, {**self.changes(), "tracking.variant": self.name}, PARAMETERS)
        except ConfigError as error:
            raise ConfigError(
                f"{self.name}, on top of {self.origin}: {str(error).rstrip('.')}. `--preset` takes other parameters to"
                " change (docs/ablations.md says which tables need which)."
            ) from error

    def changes(self) -> dict[str, Any]:
        """All that decides its numbers and that it changes, by dotted key."""
        return {"seed": self.seed, **self.table.changes(self.variant)}

    def by_hand(self) -> str:
        """The command of DVC that makes the same of the parameters that it changes, for a shell."""
        changes = [shlex.quote(f"{key}={_override(value)}") for key, value in self.changes().items()]
        return " ".join(["dvc exp run", *(f"-S {change}" for change in changes)])

    def config(self) -> Config:
        """Its parameters, validated. Raises as `parameters`."""
        return parse_config(YAML(typ="safe", pure=True).load(self.parameters()), PARAMETERS)


def _override(value: Any) -> str:
    """A value of `params.yaml` as `dvc exp run -S` takes it (Hydra's grammar)."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_override(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_override, value)) + "]"
    return str(value) if isinstance(value, str) else json.dumps(value)


def made_in(project: Path) -> Made:
    """What the variants of a project have made so far."""
    return Made(project / COPIES / "made")


def offer_own(project: Path, config: Config) -> None:
    """Offers what the project itself has made, where no variant has made the same."""
    made, recorded = made_in(project), read_lock(project)
    for step, key in step_keys(config).items():
        if step in recorded and not made.has(key):  # not claimed: who makes it just now would hold this up
            made.keep(key, step, project)


def make(run: Run, project: Path) -> None:
    """Brings a variant up to date and leaves its result in `ablations/<table>/<variant>/seed-<n>`.

    Each step that another variant has made, or is making, is taken over from it. Killed, it goes on where it was.

    Raises:
        GlusError: a step failed; its last lines say why.
        KeyboardInterrupt: Ctrl-C or SIGTERM; what was finished is kept.
    """
    text, config = run.parameters(), run.config()
    with workspace(project, run.name, text) as folder:
        _make_steps(run, step_keys(config), folder, project)
        result = folder / ".glus" / "result"
        shutil.rmtree(result, ignore_errors=True)
        leave_result(folder, result)
        publish(result, project / RESULTS / run.name)
        if config.tracking.enabled:
            _track(run, config, project / RESULTS / run.name)
        shutil.rmtree(folder)
    logger.info("%s: done, see %s", run.name, RESULTS / run.name)


def _make_steps(run: Run, keys: dict[str, str], folder: Path, project: Path) -> None:
    made, taken = made_in(project), dict[str, str]()
    for number, step in enumerate(STEPS):
        with made.claimed(keys[step.name]) as there:
            if there:
                taken[step.name] = keys[step.name]
                logger.info("%s: %s was made before", run.name, step.name)
            if there and step is not STEPS[-1]:
                continue
            if taken:
                made.take(taken, folder)
                _dvc(["checkout", "--force", "--allow-missing", *taken], folder, project, run)
            _dvc(["repro", step.name], folder, project, run)  # what DVC's cache has lost is made again
            for before in STEPS[: number + 1]:
                made.keep(keys[before.name], before.name, folder)
            taken = {}


def _dvc(arguments: list[str], folder: Path, project: Path, run: Run) -> None:
    """Runs a command of DVC, which ends with this process; its lines are shown with the variant's name."""
    mend_lock(folder)
    environment = os.environ | {"GLUS_EXECUTION": _execution(run), "DVC_ROOT": str(project)}
    command = subprocess.Popen(
        [*DVC, *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=tied(),
    )
    with command:
        try:
            assert command.stdout is not None
            for line in command.stdout:
                logger.info("%s: %s", run.name, line.rstrip())
        except BaseException:
            command.terminate()
            raise
    if command.returncode != 0:
        raise GlusError(
            f"{run.name}: `dvc {' '.join(arguments)}` ended with exit code {command.returncode}; the lines above say"
            f" why. What was finished is kept in {folder}; the same command goes on from there."
        )


def _execution(run: Run) -> str:
    """Names a variant for MLflow: its steps and its summary are one run, made again by other parameters another."""
    return f"ablation:{run.name}:{hash_json(run.parameters())[:8]}"


def _track(run: Run, config: Config, result: Path) -> None:
    """Adds what a table is compared by to the variant's run, or begins one where all was made before."""
    names = {"table": run.table.number, "variant": run.variant.name, "row": run.variant.row}
    tracker = start_tracking(
        RunDescription(
            experiment=config.tracking.experiment,
            name=run.name,
            execution=_execution(run),
            run_id=None,
            parameters={**names, "seed": str(run.seed)},
            tags={**names, "seed": str(run.seed)},
        )
    )
    tracker.log_metrics(score_metrics(read_json(result / EVALUATION_METRICS)))
    printed = paper_values(run.table.number, run.variant.row)
    tracker.log_metrics({f"paper/{place}": value for place, value in printed.items()})
    tracker.log_artifact(result / PASSPORT.name)
    tracker.finish("done")
