"""What a checkpoint was trained from and does not hold itself: named by path, known by the hash of its weights.

Hashes are of the files' bytes. Within a project they are computed once for each state of a file (`HashCache`), so that
14 GB are not read again by each process that loads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from glus.errors import InputError
from glus.files import HashCache, hash_json, read_json
from glus.weights.folder import ADAPTER, CONFIG, TRAINED
from glus.weights.tensor_files import weight_files

NUM_HASHED = 4  # files at a time
Elsewhere = Mapping[str, str | Path | None]  # part of a base -> another place for it
WHERE_IT_LAY: Elsewhere = {}


@dataclass(frozen=True)
class BasePart:
    """One of the places that a base is made of.

    Attributes:
        path: of a folder or file, as it was named; from the project's folder where it is relative.
        sha256: see `weights_sha256`.
    """

    path: str
    sha256: str


def describe_base(paths: Mapping[str, str]) -> dict[str, BasePart]:
    """What a checkpoint says of its base: part (`base`, `vision_tower`, `sam2_weights`) -> path and hash."""
    return {part: BasePart(path, weights_sha256(Path(path))) for part, path in paths.items()}


def find_base(checkpoint: Path, recorded: Mapping[str, BasePart], elsewhere: Elsewhere) -> dict[str, Path]:
    """Where the parts of a base lie now; each is the very one that the checkpoint was trained from.

    Args:
        checkpoint: folder; a relative path is looked for from the folders that it lies in, then from here.
        recorded: what `describe_base` said.
        elsewhere: other places.

    Raises:
        InputError: a part is not there, or other weights are; names the path and both hashes.
    """
    found = {}
    for part, base in recorded.items():
        path = Path(elsewhere.get(part) or _nearest(checkpoint, base.path))
        hint = (
            f"Put it back, or name where it lies: `from_pretrained({str(checkpoint)!r}, {part}=...)`, or once and for"
            f" all `glus weights merge {checkpoint} NEW --{part.replace('_', '-')} ...`, whose result needs no base."
        )
        if not path.exists():
            raise InputError(
                f"{checkpoint} holds only what was trained; its {part} {path} (SHA-256 {base.sha256[:12]}) is not"
                f" there. {hint}"
            )
        if (sha256 := weights_sha256(path)) != base.sha256:
            raise InputError(
                f"{checkpoint} was trained from another {part} than {path}: its weights have SHA-256 {sha256[:12]},"
                f" expected {base.sha256[:12]}. {hint}"
            )
        found[part] = path
    return found


def _nearest(checkpoint: Path, path: str) -> Path:
    here = checkpoint.absolute()
    return next((folder / path for folder in here.parents if (folder / path).exists()), Path(path))


def weights_sha256(path: Path) -> str:
    """Hash of a file, or of all files that hold a checkpoint's tensors, and of its base where it has one.

    Raises:
        InputError: no weights there.
    """
    if path.is_file():
        files = [path]
    elif (path / TRAINED).is_file():
        files = [path / name for name in (TRAINED, ADAPTER) if (path / name).is_file()]
    else:
        files = weight_files(path)
    cache = HashCache()
    with ThreadPoolExecutor(NUM_HASHED) as pool:
        hashes = dict(zip((file.name for file in files), pool.map(cache.hash, files), strict=True))
    cache.save()
    if len(files) == 1 and files[0].name != TRAINED:
        return hashes[files[0].name]
    return hash_json(hashes | {part: base.sha256 for part, base in recorded_base(path).items()})


def recorded_base(directory: Path) -> dict[str, BasePart]:
    """The base that the `config.json` of a model of ours names; empty where it is whole, or none of ours.

    Raises:
        InputError: the entry is not of paths and hashes.
    """
    config = directory / CONFIG
    content = read_json(config) if config.is_file() else {}
    entry = content.get("base", {}) if str(content.get("format")).startswith("glus") else {}
    try:
        return {part: BasePart(str(base["path"]), str(base["sha256"])) for part, base in entry.items()}
    except (AttributeError, KeyError, TypeError) as error:
        raise InputError(f"{config}: base has no path and sha256 for each of its parts.") from error


def require_parts(parts: Mapping[str, Path], needed: Iterable[str]) -> None:
    """Checks that a checkpoint names what its base lacks.

    Raises:
        InputError: it does not.
    """
    if missing := [part for part in needed if part not in parts]:
        raise InputError(
            f"{parts['base']} is no whole base: what was trained from it names no {', no '.join(missing)}."
        )
