"""Step 1, paper 5.1: datasets in their published layouts into Parquet tables; the synthetic set is generated first."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from glus.errors import InputError
from glus.execution.processes import Pool
from glus.files import hash_file, write_json
from glus.manifest import read_manifest, write_manifest
from glus.paths import EVALUATION_SPLITS, GENERATED, REPORTS, STAGED, TRAINING_SPLITS
from glus.pipeline.artifacts import split_parameters
from glus.pipeline.context import StepContext
from glus.publishing import sync
from glus.records.tables import write_table
from glus.staging.checks import ExaminedSplit, examine, worker_pool
from glus.staging.faults import Fault, error, errors, warning
from glus.staging.files.expression_lists import MissingError
from glus.staging.files.file_state import folder_state
from glus.staging.files.paths import LinkedRoot
from glus.staging.files.video_files import has_to_be_unpacked, unpack_videos
from glus.staging.readers.registry import published
from glus.staging.spool import MaskSpool
from glus.staging.synthetic import write_split
from glus.staging.tables import write_tables

REPORT = REPORTS / "staging_errors.parquet"  # beside what `evaluate` writes there, and unknown to DVC (.dvcignore)
MAX_SHOWN = 20  # faults printed of a run

Faults = dict[str, list[Fault]]  # by split

logger = logging.getLogger(__name__)


def run(context: StepContext, *, keep_going: bool = False) -> None:
    """Generates, reads, checks and publishes every split of `stage.splits`; nothing is published if one is faulty.

    `data/staged` is one artifact, so a sound split beside a faulty one is not published either; it is kept in the
    scratch folder, and the next run looks again only at what has changed.

    Args:
        keep_going: looks at every split, whatever is wrong with those before it, and writes all faults to `REPORT`.

    Raises:
        InputError: a dataset or split is missing, or holds errors; they are named.
    """
    splits = sorted(context.config.stage.splits)
    staged, generated = context.work / "staged", context.work / "synthetic"
    generated.mkdir(parents=True, exist_ok=True)
    faults: Faults = {}
    with worker_pool(context.config.compute.workers) as pool:
        for name in splits:
            if name.startswith("synthetic/"):
                _generate(context, name, generated, pool)
        for name in splits:
            faults[name] = _stage_or_explain(context, name, pool) if keep_going else _stage(context, name, pool)
            if errors(faults[name]) and not keep_going:
                break
    _report(faults, keep_going)
    _write_lists(context, staged)
    context.publish_plain(generated, GENERATED)
    context.publish_directory(staged, STAGED)


def _generate(context: StepContext, name: str, root: Path, pool: Pool | None) -> None:
    write_split(context.config.stage.synthetic, name.split("/")[1], root, pool, context.progress)


def _stage_or_explain(context: StepContext, name: str, pool: Pool | None) -> list[Fault]:
    """Stages a split; a dataset that is not there is a fault like others."""
    try:
        return _stage(context, name, pool)
    except MissingError as problem:
        return [problem.fault()]


def _stage(context: StepContext, name: str, pool: Pool | None) -> list[Fault]:
    """Writes one split below the scratch folder unless it is there already; returns what is wrong with it.

    The note of what was found is written last: with it the split is complete, and holds for the raw files as they were.
    """
    target, note = context.work / "staged" / name, context.work / "notes" / f"{name}.json"
    dataset = name.split("/")[0]
    root = context.work / "synthetic" if dataset == "synthetic" else context.config.stage.root(dataset)
    state = folder_state(root)
    faults = _noted(note, state, target)
    if faults is None:
        note.unlink(missing_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        faults = _examine_and_write(context, name, root, target, pool)
        if target.is_dir():
            sync(target)
        write_json({"state": state, "faults": [asdict(fault) for fault in faults]}, note)
    if not errors(faults):
        print(f"{name}: {_counts(name, target)}")
    return faults


def _noted(note: Path, state: str, target: Path) -> list[Fault] | None:
    """What an earlier run has found, unless it was in other files or what it wrote is gone (published since)."""
    noted = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else {}
    if noted.get("state") != state:
        return None
    faults = [Fault(**fault) for fault in noted["faults"]]
    return faults if errors(faults) or (target / "manifest.json").is_file() else None


def _examine_and_write(context: StepContext, name: str, root: Path, target: Path, pool: Pool | None) -> list[Fault]:
    dataset, split = name.split("/")
    masks = MaskSpool(context.work)
    linked = LinkedRoot.of(root, context.config.stage.allow_links)
    excluded, kept = context.config.stage.exclude.get(name, []), context.work / "kept" / name
    examined = examine(dataset, linked, split, pool, context.progress, masks.add, exclude=excluded, kept=kept)
    if errors(examined.faults):
        return examined.faults
    if not examined.raw.videos:
        action = "Leave out less, or take the split out of stage.splits"
        return [error(examined.raw.file, "", f"no video is left of {name} (stage.exclude: {excluded})", action)]
    frames_root = GENERATED if dataset == "synthetic" else root
    if any(map(has_to_be_unpacked, examined.raw.videos)):
        unpacked = unpack_videos(root, examined.raw.videos, target)
        total = len(examined.raw.videos)
        examined.raw.videos = list(context.progress(unpacked, f"unpacking {name}", total=total))
        frames_root = STAGED / name
    extra = {
        "frames_root": frames_root.as_posix(),
        "frames_sha256": examined.frames_sha256,
        "list": examined.raw.file,
        "list_sha256": hash_file(root / examined.raw.file),
        "release": examined.raw.release,
        "counts": {**write_tables(dataset, split, examined, masks, target), "objects": _num_objects(examined)},
    }
    write_manifest(target, step="stage", parameters=split_parameters(context.config, name), inputs={}, extra=extra)
    return [*examined.faults, *_differences(name, target)]


def _num_objects(examined: ExaminedSplit) -> int:
    return len({(item.video_id, number) for item in examined.raw.expressions for number in item.object_ids})


def _beside_published(name: str, directory: Path) -> Iterator[tuple[str, int, int | None]]:
    """What is counted, how many were staged, and how many its owners publish."""
    facts = read_manifest(directory).extra
    dataset, split = name.split("/")
    known = published(dataset, split, facts["release"])
    for kind in ("videos", "expressions", "objects", "masks"):
        yield kind, facts["counts"][kind], getattr(known, kind, None)


def _counts(name: str, directory: Path) -> str:
    """One line: what was staged, beside what its owners publish."""
    release = read_manifest(directory).extra["release"]
    return (f"release {release}, " if release else "") + ", ".join(
        f"{count} {kind}" + (f" (published: {wanted})" if wanted else "")
        for kind, count, wanted in _beside_published(name, directory)
    )


def _differences(name: str, directory: Path) -> list[Fault]:
    differing = [
        f"{count} {kind}, published are {wanted}"
        for kind, count, wanted in _beside_published(name, directory)
        if wanted and count != wanted
    ]
    if not differing:
        return []
    action = "Scores on other videos or expressions are not comparable; check the download"
    return [warning(read_manifest(directory).extra["list"], "", "; ".join(differing), action)]


def _report(faults: Faults, keep_going: bool) -> None:
    """Shows what was found, writes all of it where that was asked for, and stops where there are errors.

    Raises:
        InputError: there are errors.
    """
    found = [(name, fault) for name, group in faults.items() for fault in group]
    if keep_going and found:
        write_table("staging_errors", (fault.row(*name.split("/")) for name, fault in found), REPORT)
    else:
        REPORT.unlink(missing_ok=True)  # of an earlier run; what it told is mended or looked at anew
    for name, fault in [(name, fault) for name, fault in found if fault.severity == "warning"][:MAX_SHOWN]:
        logger.warning("warning: %s: %s", name, fault)
    refused = [(name, fault) for name, fault in found if fault.severity == "error"]
    if not refused:
        return
    shown = "\n".join(f"  {name}: {fault}" for name, fault in refused[:MAX_SHOWN])
    more = f"\n  and {len(refused) - MAX_SHOWN} more" if len(refused) > MAX_SHOWN else ""
    where = f"all of it is in {REPORT}" if keep_going else f"`glus stage --keep-going` writes all of it to {REPORT}"
    raise InputError(f"stage: {len(refused)} error(s) in the raw data, nothing was published; {where}:\n{shown}{more}")


def _write_lists(context: StepContext, staged: Path) -> None:
    """`train.json` and `evaluation.json`: the splits that later steps depend on, with their content."""
    for listed in (TRAINING_SPLITS, EVALUATION_SPLITS):
        names = context.config.data.splits[listed.stem]
        splits = {name: read_manifest(staged / name).content_sha256 for name in names}
        write_json({"splits": splits}, staged / listed.name)
