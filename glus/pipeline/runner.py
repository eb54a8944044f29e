"""Runs one step: its lock, its inputs' check, its scratch folder, its record. The step itself is a plain function."""

from __future__ import annotations

import importlib
import logging
import os
import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from glus.errors import GlusError, KilledError, is_out_of_memory
from glus.execution.device_locks import held_devices
from glus.execution.ties import SECONDS_TO_STOP, ending_within
from glus.files import write_refusal
from glus.pipeline.artifacts import input_hashes, resolve
from glus.pipeline.context import StepContext
from glus.pipeline.fingerprint import fingerprint
from glus.pipeline.finished import identity, result_state
from glus.pipeline.lock import step_lock
from glus.pipeline.passport import PASSPORT, write_passport
from glus.pipeline.provenance import RunClock, forget_execution, open_tracker, track_outputs
from glus.pipeline.table import STEPS, Step
from glus.pipeline.tracking import Tracker
from glus.pipeline.unneeded import is_needed, publish_unneeded

if TYPE_CHECKING:
    from glus.config import Config

logger = logging.getLogger(__name__)

WORK = Path(".glus/work")
_LESS = "Other programs, and compute.processes side by side on one machine, take memory too"
_TRAINS = (
    "Where it was left off go on: compute.activation_checkpointing: true, fewer compute.processes. Begin anew:"
    " compute.precision: bfloat16, {0}.samples: 1 with {0}.accumulation as many times larger (the same batch)."
)
_LESS_MEMORY = {  # what helps, by step
    "stage": f"{_LESS}; compute.workers: 1 needs least.",
    "train": _TRAINS.format("train.clip"),
    "pseudolabel": f"{_LESS}; compute.precision: bfloat16 halves a base of 16 bits.",
    "selector": _TRAINS.format("selector"),
    "keyframes": f"{_LESS}; a smaller keyframes.batch reads fewer frames at once.",
    "propagate": f"{_LESS}; compute.precision: bfloat16 halves a base of 16 bits.",
    "evaluate": f"{_LESS}.",
}


class Interrupted(KeyboardInterrupt):
    """SIGTERM, from a person, a scheduler, or what is tied to the parent when that has ended."""


@dataclass(frozen=True)
class Plan:
    """What running a step would do now.

    Attributes:
        fingerprint: hash of all that decides the step, see `glus.pipeline.fingerprint`.
        identity: names what the step computes, see `glus.pipeline.finished`.
        work: the scratch folder that belongs to the fingerprint.
        resumes: an interrupted run with the same fingerprint left finished pieces there.
    """

    step: Step
    inputs: dict[str, str]
    fingerprint: str
    identity: str
    work: Path
    resumes: bool


def find_step(name: str) -> Step:
    """The step of a name."""
    return next(step for step in STEPS if step.name == name)


def plan_step(name: str, config: Config) -> Plan:
    """Checks a step's inputs and finds its scratch folder; changes nothing.

    Raises:
        ArtifactError: an input is missing, incomplete or was made under other parameters.
    """
    step = find_step(name)
    inputs = input_hashes(step, config)
    decides = fingerprint(step, config, inputs)
    work = WORK / name / decides
    return Plan(step, inputs, decides, identity(step, decides), work, work.is_dir() and any(work.iterdir()))


def run_step(name: str, config: Config, *, fresh: bool = False, **options: Any) -> None:
    """Runs one step from start to published artifacts.

    Args:
        fresh: forget what an interrupted run of the step has finished.
        options: of the step itself; they change what is reported, never the artifacts.

    Raises:
        BusyError: another process is at work on the step.
        ArtifactError: an input is missing, incomplete or was made under other parameters.
        GlusError: the step failed, the disk takes no more.
        KilledError: a process that worked on the step was killed.
        KeyboardInterrupt: Ctrl-C or SIGTERM; finished pieces are kept for the next run.
    """
    try:
        with step_lock(name), interrupted_by_sigterm():
            plan = plan_step(name, config)
            _prepare_work(plan, fresh)
            resumes = " (resumes an interrupted run)" if plan.resumes and not fresh else ""
            logger.info("%s: %s%s", name, plan.step.summary, resumes)
            with _devices(plan.step, config):
                _run_tracked(plan, config, options)
            shutil.rmtree(plan.work, ignore_errors=True)
    except Exception as error:
        refusal = None if isinstance(error, GlusError) else write_refusal(error)  # which says more
        if refusal:
            raise GlusError(
                f"{name}: {refusal.why} ({Path.cwd()}). {refusal.remedy} and start again;"
                " what was finished is kept, nothing was published by halves."
            ) from error
        if is_out_of_memory(error):
            raise GlusError(
                f"{name}: memory ran out ({error}). What was finished is kept, the last checkpoint too. `glus plan`"
                f" says what is needed. {_LESS_MEMORY[name]}"
            ) from error
        raise


def run_beside(name: str, config: Config) -> None:
    """What a process does that takes part in a step that another process runs: nothing where it is not needed.

    Raises:
        GlusError: as `run_step`.
        KeyboardInterrupt: Ctrl-C or SIGTERM.
    """
    if is_needed(find_step(name), config):  # else it would wait for a process that does not train
        with interrupted_by_sigterm():
            importlib.import_module(f"glus.steps.{name}").run_beside(config)


def needs_device(step: Step, config: Config) -> bool:
    """Whether a step runs a model in processes of this machine."""
    elsewhere = step.shards and config.compute.engine != "local"
    return step.devices and not elsewhere and is_needed(step, config)


def _devices(step: Step, config: Config) -> AbstractContextManager[object]:
    """Holds a device for each process of a step, where its processes work on this machine."""
    given = "RANK" in os.environ  # by who has started this process among others
    if not needs_device(step, config) or given or config.compute.device == "cpu":
        return nullcontext()
    return held_devices(config.compute.processes, step.name)


@contextmanager
def interrupted_by_sigterm(seconds: float = SECONDS_TO_STOP) -> Iterator[None]:
    """SIGTERM raises `Interrupted`; after it and after Ctrl-C the process ends within some seconds."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, lambda *_: None)  # it may come from the parent's end and from a group's
        raise Interrupted

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        with ending_within(seconds):
            yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _prepare_work(plan: Plan, fresh: bool) -> None:
    """Removes what belongs to other parameters or inputs (and, when asked, to these), then makes the folder."""
    folder = WORK / plan.step.name
    for left in folder.iterdir() if folder.is_dir() else ():
        if fresh or left != plan.work:
            why = "as asked" if fresh else "parameters, inputs or code are others now"
            logger.info("%s: what an interrupted run had finished is dropped (%s)", plan.step.name, why)
            shutil.rmtree(left)
    plan.work.mkdir(parents=True, exist_ok=True)


def _run_tracked(plan: Plan, config: Config, options: Mapping[str, Any]) -> None:
    step, outcome = plan.step, "failed"
    clock, tracker = RunClock(), open_tracker(config, step, plan.fingerprint)
    try:
        context = StepContext(config, step, plan.work, plan.inputs, tracker)
        if is_needed(step, config):
            importlib.import_module(f"glus.steps.{step.name}").run(context, **options)
        else:
            publish_unneeded(context)
        _check_outputs(step, config)
        track_outputs(tracker, step)
        if step is STEPS[-1]:
            _issue_passport(tracker, step)
        outcome = "done"
    except (KeyboardInterrupt, KilledError):
        outcome = "interrupted"
        raise
    finally:
        mlflow_run = tracker.finish(outcome)
        if outcome == "done":
            forget_execution(step)
        with _tolerating_refusal():
            made = {"fingerprint": plan.fingerprint, "identity": plan.identity}
            outputs = {"outputs": result_state(step, config)} if outcome == "done" else {}
            clock.record(step, made | outputs, outcome, mlflow_run)


def _issue_passport(tracker: Tracker, step: Step) -> None:
    with _tolerating_refusal():
        write_passport(Path(), PASSPORT, unrecorded=[step.name])
        tracker.log_artifact(PASSPORT)


def _check_outputs(step: Step, config: Config) -> None:
    for output in resolve(step.outputs, config):
        if not Path(output).exists():
            raise RuntimeError(f"step {step.name} ended without writing {output}")


@contextmanager
def _tolerating_refusal() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        refusal = write_refusal(error)
        if refusal is None:
            raise
        logger.warning("The record of this run was not written: %s.", refusal.why)
