"""What the present parameters need: memory and whether it is there, steps and hours, disk, and what is missing."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from glus.config import Config
from glus.paths import MODELS, RUNS
from glus.pipeline.project import external_paths
from glus.planning.machine import Room
from glus.planning.skeletons import glus_in_training
from glus.planning.works import Work, segmenting, selecting, training
from glus.training.loop.trainable import part_of

RATE = "samples_per_s"  # column of the log of the last run
PUBLISHED = {
    "mevis": "henghuiding.github.io/MeViS",
    "refer_youtube_vos": "youtube-vos.org",
    "ref_davis17": "davischallenge.org",
    "revos": "github.com/cilinyan/ReVOS-api",
    "lvvis": "github.com/haochenheheda/LVVIS",
    "reasonvos": "github.com/showlab/VideoLISA",
}
WEIGHTS = {
    "model.base": "LISA-7B-v1 of its authors (xinlai/LISA-7B-v1), or a published GLUS",
    "model.vision_tower": "openai/clip-vit-large-patch14",
    "model.sam2_weights": "sam2_hiera_large.pt of github.com/facebookresearch/sam2",
    "selector.model.base": "Chat-UniVi of its authors (Chat-UniVi/Chat-UniVi)",
    "selector.model.vision_tower": "openai/clip-vit-large-patch14",
    "propagate.cutie_weights": "cutie-base-mega.pth of github.com/hkchengrex/Cutie",
}

WORKS: dict[str, Callable[[Config], Work]] = {
    "training": training,
    "labelling": partial(segmenting, name="labelling"),
    "selecting": selecting,
    "segmenting": partial(segmenting, name="segmenting"),
}


@dataclass(frozen=True)
class Parameters:
    """Numbers of parameters of GLUS with its adapters.

    Attributes:
        total: all.
        trained: of each part that the clip phase trains.
    """

    total: int
    trained: dict[str, int]


def count_parameters(config: Config) -> Parameters:
    """Counts them without weights."""
    model, parameters = glus_in_training(config)
    trained: dict[str, int] = {}
    for name, parameter in parameters.items():
        part = str(part_of(name))
        trained[part] = trained.get(part, 0) + parameter.numel()
    return Parameters(sum(parameter.numel() for parameter in model.parameters()), trained)


def measure_works(config: Config) -> list[Work]:
    """Memory of one process of each kind of work."""
    return [measure(config) for measure in WORKS.values()]


def fits(work: Work, config: Config, where: Room) -> bool:
    """Whether the processes of a step find room, with a tenth to spare for what torch keeps aside."""
    processes = config.compute.processes if where.shared else 1
    return processes * (work.total + where.libraries) <= 0.9 * where.size


def remedies(config: Config, work: Work, where: Room) -> Iterator[tuple[str, Work]]:
    """Changes that help a work that does not fit, one after the other until it does, with what is needed then."""
    for text, changes in _changes(config, work, where):
        config = changed(config, changes)
        work = WORKS[work.name](config)
        yield text, work
        if fits(work, config, where):
            return


def _changes(config: Config, work: Work, where: Room) -> Iterator[tuple[str, dict[str, Any]]]:
    compute, clip = config.compute, config.train.clip
    if where.shared and compute.processes > 1:
        yield "compute.processes: 1", {"compute.processes": 1}
    if compute.precision == "float32" and config.model.base is not None:
        yield "compute.precision: bfloat16", {"compute.precision": "bfloat16"}
    if work.name == "selecting" and config.keyframes.batch > 1:
        batch = config.keyframes.batch // 2
        yield f"keyframes.batch: {batch}", {"keyframes.batch": batch}
    if work.name != "training":
        return
    if not compute.activation_checkpointing:
        yield "compute.activation_checkpointing: true", {"compute.activation_checkpointing": True}
    if clip.samples > 1:
        batches = clip.samples * clip.accumulation
        yield (
            f"train.clip.samples: 1 with train.clip.accumulation: {batches}, the same batch of {batches}",
            {"train.clip.samples": 1, "train.clip.accumulation": batches},
        )
    yield "model.memory.detach: true, as the published code", {"model.memory.detach": True}


def changed(config: Config, changes: Mapping[str, Any]) -> Config:
    """A configuration with some values replaced, by dotted keys."""
    values = config.model_dump(mode="json")
    for key, value in changes.items():
        *sections, name = key.split(".")
        section = values
        for part in sections:
            section = section[part]
        section[name] = value
    return Config.model_validate(values)


def measured_rate() -> float | None:
    """Samples per second of the last training here, of all processes; the median of its log."""
    file = RUNS / "train.csv"
    if not file.is_file():
        return None
    with file.open(encoding="utf-8", newline="") as rows:
        rates = [float(row[RATE]) for row in csv.DictReader(rows) if row.get(RATE)]
    return statistics.median(rates) if rates else None


def num_samples(config: Config) -> int:
    """Clips that the clip phase trains on."""
    clip = config.train.clip
    return clip.steps * clip.accumulation * clip.samples


def disk_bytes(config: Config) -> dict[str, int]:
    """What training writes: its two models, and a state to resume from beside the one before."""
    model, trained = glus_in_training(config)
    of_trained = sum(parameter.nbytes for parameter in trained.values())
    whole = sum(parameter.nbytes for parameter in model.parameters())
    return {str(MODELS): 2 * (of_trained if config.model.base else whole), "resuming": 2 * 3 * of_trained}


def missing(config: Config) -> list[str]:
    """Weights and raw data that are named and not there, and where their owners publish them."""
    found = []
    for key, path in external_paths(config).items():
        if not path.exists():
            origin = PUBLISHED.get(key.rpartition(".")[2]) if key.startswith("stage.") else WEIGHTS.get(key)
            found.append(f"{key}: {path} is not there" + (f"; published at {origin}" if origin else ""))
    return found
