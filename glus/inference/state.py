"""Where a session stands between two frames, as a file, so that another process goes on with the same bits."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from glus.errors import ArtifactError
from glus.publishing import publish_file

FACTS = "glus.session"  # in the file's metadata


@dataclass(frozen=True)
class SessionState:
    """What a session cannot compute again without its earlier frames: memories, and prompts that were read ahead.

    Attributes:
        facts: plain data: the place in the video, the sentences of each pass, which frames are encoded.
        tensors: on any device, by name.
    """

    facts: dict[str, Any]
    tensors: dict[str, Tensor]


def write_state(state: SessionState, path: Path) -> None:
    """Writes a state (safetensors) beside the target, syncs it and renames it."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.tensors.items()}
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_bytes(save(tensors, {FACTS: json.dumps(state.facts)}))
    publish_file(aside, path)


def read_state(path: Path) -> SessionState:
    """Reads what `write_state` wrote.

    Raises:
        ArtifactError: it is damaged or something else.
    """
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads(file.metadata()[FACTS])
            return SessionState(facts, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"{path} is not the state of a session ({error}); remove its folder and start again."
        ) from error
