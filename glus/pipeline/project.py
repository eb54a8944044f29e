"""The project that a step works for, though it may have been started in a copy of what git tracks.

`dvc exp run --temp` and `--queue` run every experiment in a copy below `.dvc/tmp`, `glus ablate` every variant in one
below `.glus/ablations`; both are deleted afterwards: MLflow's store and whatever git does not know (raw data,
downloaded weights) stay in the project itself.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from glus.errors import InputError

if TYPE_CHECKING:
    from glus.config import Config

COPIES = (Path(".dvc/tmp"), Path(".glus/ablations"))


def project_root() -> Path:
    """The project's folder, absolute: this one, or the one that this is a copy of, for an experiment or a variant."""
    here, origin = Path.cwd(), os.environ.get("DVC_ROOT")  # a copy is told where it was started
    if origin and _is_copy(here, Path(origin)):
        return Path(origin).resolve()
    return here


def _is_copy(path: Path, root: Path) -> bool:
    return any(path.is_relative_to((root / copies).resolve()) for copies in COPIES)


def external_paths(config: Config) -> dict[str, Path]:
    """What the parameters name and no step makes, by key: raw datasets, weights, key frames from elsewhere."""
    datasets = dict.fromkeys(name.split("/")[0] for name in config.stage.splits)
    raw = {f"stage.roots.{name}": config.stage.root(name) for name in datasets if name != "synthetic"}
    weights = {
        "model.base": config.model.base,
        "model.vision_tower": config.model.vision_tower,
        "model.sam2_weights": config.model.sam2_weights,
        "selector.model.base": config.selector.model.base,
        "selector.model.vision_tower": config.selector.model.vision_tower,
        "propagate.cutie_weights": config.propagate.cutie_weights,
    }
    key_frames = {f"keyframes.files.{name}": file for name, file in config.keyframes.files.items()}
    named = weights | key_frames
    return raw | {key: Path(value) for key, value in named.items() if value is not None}


def link_external(config: Config) -> None:
    """Links what the parameters name and git does not track into an experiment's copy; elsewhere does nothing.

    The steps read relative paths, and manifests record them, so a copy gives the same artifacts as the project.

    Raises:
        InputError: a path leaves the project by so many `..` that it cannot be linked.
    """
    root, here = project_root(), Path.cwd()
    if root == here:
        return
    for key, path in external_paths(config).items():
        link, target = Path(os.path.normpath(here / path)), root / path
        if link.exists() or not target.exists():
            continue
        if not _is_copy(link, root):
            raise InputError(
                f"{key} = {path} lies too far above the project for an experiment's copy. Name it in full."
            )
        link.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):  # another experiment has just made it, above the copies
            link.symlink_to(target.resolve())
