"""The result of one video: what made it, and whether a folder holds what is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from glus.errors import ArtifactError, InputError
from glus.files import hash_file, hash_json
from glus.manifest import MANIFEST, Manifest, first_difference, read_manifest
from glus.media.folders import list_frame_files
from glus.segmenting.jobs import Job
from glus.segmenting.requests import SegmentRequest

UNFINISHED = "unfinished"  # folder of pieces within a result
SMALL_BYTES = 1 << 20


def require_free_or_own(output: Path) -> None:
    """Nothing is written over.

    Raises:
        InputError: it is there, holds something, and is no result of this command.
    """
    own = (output / MANIFEST).is_file() or (output / UNFINISHED).is_dir()
    if output.exists() and not own and not (output.is_dir() and not any(output.iterdir())):
        raise InputError(f"{output} exists already; name another folder.")


def finished(output: Path) -> Manifest | None:
    """The manifest of a result that is complete; None also where a power loss has damaged it before pieces went."""
    try:
        return read_manifest(output) if (output / MANIFEST).is_file() else None
    except ArtifactError:
        if (output / UNFINISHED).is_dir():
            return None
        raise


def identity(job: Job, request: SegmentRequest, compute: dict[str, str]) -> dict[str, Any]:
    """What decides the masks of a job: equal identities, equal bytes.

    Args:
        compute: device and precision.

    Raises:
        InputError: video or model are not there.
    """
    weights = {"model": _weights(request.model)}
    if request.selector is not None:
        weights["selector"] = _weights(request.selector)
    parameters = {**request.parameters(), **compute, "sentences": list(job.sentences)}
    return {"parameters": parameters, "inputs": {"video": _content(job.video), **weights}}


def require_same(output: Path, made: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Compares identities.

    Raises:
        InputError: they differ; names the first difference.
    """
    for name, known in wanted["inputs"].items():
        if made["inputs"].get(name) != known:
            raise InputError(f"{output} was made with another {name}; name another folder, or remove that one.")
    if difference := first_difference(made["parameters"], wanted["parameters"]):
        raise InputError(
            f"{output} was made with other parameters: {difference}. Name another folder, or remove that one."
        )
    if "selector" in made["inputs"].keys() - wanted["inputs"].keys():
        raise InputError(f"{output} was made with a selector; name another folder, or remove that one.")


def _content(video: Path) -> str:
    """SHA-256 of a film, a picture, or the pictures of a folder in their order."""
    if video.is_dir():
        return hash_json([[name, hash_file(video / name)] for name in list_frame_files(video)[0]])
    if not video.is_file():
        raise InputError(f"{video} does not exist; a film, a picture or a folder of pictures is expected.")
    return hash_file(video)


def _weights(folder: Path) -> str:
    """What tells weights from others: the manifest of a model of ours; else sizes, and the content of small files."""
    require_model(folder)
    if (folder / MANIFEST).is_file():
        return read_manifest(folder).content_sha256
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
    small = {name: hash_file(folder / name) for name, size in sizes.items() if size <= SMALL_BYTES}
    return hash_json({"sizes": sizes, "small": small})


def require_model(folder: Path) -> None:
    """A folder with weights is there.

    Raises:
        InputError: it is not.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} does not exist; a folder with a model is expected.")
