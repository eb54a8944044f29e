"""Step 1, paper 5.1: datasets in their published layouts into Parquet tables; the synthetic set is generated first."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from glus.errors import InputError
from glus.manifest import publish, read_manifest, write_json, write_manifest
from glus.pipeline.artifacts import STAGED, split_parameters
from glus.pipeline.context import StepContext
from glus.staging.checks import examine, worker_pool
from glus.staging.faults import Fault, errors
from glus.staging.readers import reader
from glus.staging.spool import MaskSpool
from glus.staging.synthetic import write_split
from glus.staging.tables import write_tables

GENERATED = Path("data/raw/synthetic")
MAX_SHOWN = 20  # faults printed of a split

logger = logging.getLogger(__name__)


def run(context: StepContext) -> None:
    """Generates, reads, checks and publishes every split of `stage.splits`; nothing is published if one is faulty.

    Raises:
        InputError: a dataset or split is missing, or holds errors; all of them are named.
    """
    splits = sorted(context.config.stage.splits)
    staged, generated = context.work / "staged", context.work / "synthetic"
    generated.mkdir(parents=True, exist_ok=True)
    found: list[Fault] = []
    with worker_pool(context.config.compute.workers) as pool:
        for name in splits:
            if name.startswith("synthetic/"):
                _generate(context, name, generated, pool)
        for name in splits:
            if not (staged / name / "manifest.json").is_file():
                found.extend(_stage_split(context, name, staged / name, pool))
            if (staged / name / "manifest.json").is_file():
                print(_counts(name, staged / name))
    if found:
        raise InputError(_describe(found))
    _write_lists(context, staged)
    publish(generated, GENERATED)
    context.publish_directory(staged, STAGED)


def _generate(context: StepContext, name: str, root: Path, pool: Executor | None) -> None:
    split = name.split("/")[1]

    def progress(clips: Iterable[Any], total: int) -> Iterable[Any]:
        return context.progress(clips, f"drawing {name}", total=total)

    write_split(context.config.stage.synthetic, split, root, pool, progress)


def _stage_split(context: StepContext, name: str, target: Path, pool: Executor | None) -> list[Fault]:
    """Writes one split, its manifest last; returns the errors that refuse it."""
    dataset, split = name.split("/")
    final_root = GENERATED if dataset == "synthetic" else context.config.stage.root(dataset)
    root = context.work / "synthetic" if dataset == "synthetic" else final_root

    def progress(items: Iterable[Any], description: str, total: int) -> Iterable[Any]:
        return context.progress(items, description, total=total)

    masks = MaskSpool(context.work)
    examined = examine(dataset, root, split, pool, progress, masks.add)
    refused = errors(examined.faults)
    for fault in [fault for fault in examined.faults if fault.severity == "warning"][:MAX_SHOWN]:
        logger.warning("%s: %s", name, fault)
    if refused:
        return refused
    shutil.rmtree(target, ignore_errors=True)
    rows = write_tables(dataset, split, examined, masks, target)
    extra = {"frames_root": final_root.as_posix(), "frames_sha256": examined.frames_sha256, "rows": rows}
    write_manifest(target, step="stage", parameters=split_parameters(context.config, name), inputs={}, extra=extra)
    return []


def _counts(name: str, directory: Path) -> str:
    """One line: what was staged, beside what its owners publish."""
    dataset, split = name.split("/")
    rows = read_manifest(directory).extra["rows"]
    published = None if dataset == "synthetic" else reader(dataset).PUBLISHED.get(split)
    beside = {"videos": published.videos, "expressions": published.expressions} if published else {}
    parts = [
        f"{count} {kind}" + (f" (published: {beside[kind]})" if beside.get(kind) else "")
        for kind, count in rows.items()
    ]
    return f"{name}: {', '.join(parts)}"


def _describe(faults: list[Fault]) -> str:
    shown = "\n".join(f"  {fault}" for fault in faults[:MAX_SHOWN])
    more = f"\n  and {len(faults) - MAX_SHOWN} more" if len(faults) > MAX_SHOWN else ""
    return f"stage: {len(faults)} error(s) in the raw data, nothing was published:\n{shown}{more}"


def _write_lists(context: StepContext, staged: Path) -> None:
    """`train.json` and `evaluation.json`: the splits that later steps depend on, with their content."""
    data = context.config.data
    for file, names in (("train", [entry.split for entry in data.train]), ("evaluation", data.evaluation)):
        splits = {name: read_manifest(staged / name).content_sha256 for name in sorted(set(names))}
        write_json({"splits": splits}, staged / f"{file}.json")
