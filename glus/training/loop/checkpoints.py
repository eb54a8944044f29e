"""States of a run to resume from: what is trained, what its optimiser knows, and plain facts; without pickle.

A state is a folder `step-000050` with `tensors.safetensors` and `facts.json`, which holds the hashes of both. It is
written aside, synced and renamed, so that one that is there is whole, and one that was damaged since is found out.
At 7B (LoRA, embeddings, LM head, projectors, mask decoder) a state is 3.5 GB: 12 bytes for each of 292 M parameters.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from glus.errors import InputError
from glus.files import hash_file, hash_json, replace_by_text, to_json
from glus.publishing import sync

logger = logging.getLogger(__name__)

TENSORS, FACTS = "tensors.safetensors", "facts.json"


@dataclass(frozen=True)
class State:
    """A run after some step.

    Attributes:
        step: optimiser steps done.
        tensors: by name; contiguous, on any device.
        facts: what JSON can hold.
    """

    step: int
    tensors: Mapping[str, Tensor]
    facts: dict[str, Any]


class Checkpoints:
    """The last states of a run.

    Args:
        folder: survives kills.
        every: steps between two of them.
        keep: how many are kept.
    """

    def __init__(self, folder: Path, *, every: int, keep: int) -> None:
        self._folder, self.every, self._keep = folder, every, keep

    def save(self, state: State) -> None:
        """Writes a state beside the others, and then removes the oldest.

        Raises:
            OSError: also for a full disk; the states before are as they were.
        """
        aside, target = self._folder / ".partial", self._of(state.step)
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        try:
            save_file({name: tensor.contiguous() for name, tensor in state.tensors.items()}, aside / TENSORS)
            facts = {"step": state.step, **state.facts}
            hashes = {"tensors": hash_file(aside / TENSORS), "facts": hash_json(facts)}
            replace_by_text(aside / FACTS, to_json({"sha256": hashes, "facts": facts}))  # keys keep their order
            sync(aside)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        shutil.rmtree(target, ignore_errors=True)
        aside.rename(target)
        sync(self._folder)
        for old in self.steps()[: -self._keep]:
            shutil.rmtree(self._of(old))

    def steps(self) -> list[int]:
        """After which steps there are states; what else lies there, such as somebody's copy of one, is left alone."""
        numbers = (path.name.removeprefix("step-") for path in self._folder.glob("step-*"))
        return sorted(int(number) for number in numbers if number.isdecimal())

    def newest(self) -> int | None:
        """The step of the newest state that is whole; damaged ones are named in the log."""
        for step in reversed(self.steps()):
            fault = self._fault(step)
            if fault is None:
                return step
            logger.warning("%s is damaged (%s); training goes on from the state before", self._of(step), fault)
        return None

    def load(self, step: int) -> State:
        """The state after a step; its tensors lie on the CPU.

        Raises:
            InputError: it is not there, which happens where machines that train together share no folder.
        """
        folder = self._of(step)
        if not folder.is_dir():
            raise InputError(
                f"{folder.resolve()} is not there, though the first process resumes from it: machines that train"
                " together share the project's folder."
            )
        with safe_open(folder / TENSORS, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
        return State(step, tensors, _read(folder / FACTS)["facts"])

    def drop_from(self, step: int) -> None:
        """Removes the states after this step and later ones."""
        for each in self.steps():
            if each >= step:
                shutil.rmtree(self._of(each))

    def _of(self, step: int) -> Path:
        return self._folder / f"step-{step:06d}"

    def _fault(self, step: int) -> str | None:
        folder = self._of(step)
        try:
            content = _read(folder / FACTS)
            expected, facts = content["sha256"], content["facts"]
            if hash_json(facts) != expected["facts"]:
                return f"{FACTS} is not what was written"
            if hash_file(folder / TENSORS) != expected["tensors"]:
                return f"{TENSORS} is not what was written"
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            return f"{type(error).__name__}: {error}"
        return None


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def split_tensors(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Plain data as it was, with the name of each tensor in its place; the tensors go into `tensors`."""
    if isinstance(value, Tensor):
        tensors[name] = value.clone()  # rows of one tensor, say, which a file cannot hold as such
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {key: split_tensors(part, f"{name}/{key}", tensors) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [split_tensors(part, f"{name}/{number}", tensors) for number, part in enumerate(value)]
    return value


def join_tensors(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """What `split_tensors` took apart; tuples come back as lists."""
    if isinstance(value, dict):
        if value.keys() == {"tensor"}:
            return tensors[value["tensor"]]
        return {key: join_tensors(part, tensors) for key, part in value.items()}
    if isinstance(value, list):
        return [join_tensors(part, tensors) for part in value]
    return value
