"""Steps that the present parameters do without: they run in DVC's fixed graph, and say so instead of working.

Labels and selector are there to choose key frames; the other sources of key frames (Table 5) need neither. Whether they
are needed stands in `sources/<step>.json`, so that DVC runs the steps again when it changes, and only then.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from glus.files import write_json
from glus.manifest import Manifest
from glus.pipeline.table import Step

if TYPE_CHECKING:
    from glus.config import Config
    from glus.pipeline.context import StepContext

logger = logging.getLogger(__name__)

NEEDED = "needed"
WHY = "neither keyframes.source nor keyframes.comparisons asks for the selector"


def is_needed(step: Step, config: Config) -> bool:
    """Whether anything reads what a step makes."""
    return not step.for_selector or "selector" in (config.keyframes.source, *config.keyframes.comparisons)


def is_empty(manifest: Manifest) -> bool:
    """Whether an artifact was written by `publish_unneeded`."""
    return manifest.extra.get(NEEDED) is False


def publish_unneeded(context: StepContext) -> None:
    """Writes outputs that say that nothing was made, in place of those of a step that is not needed."""
    step = context.step
    logger.warning("%s: not needed, nothing is made: %s (it is %s)", step.name, WHY, context.config.keyframes.source)
    for target in map(Path, step.outputs):
        source = context.work / target.name
        if not target.suffix:
            source.mkdir(exist_ok=True)
            context.publish_directory(source, target, {NEEDED: False})
            continue
        if target.suffix == ".json":
            write_json({NEEDED: False}, source)
        elif target.suffix == ".csv":
            source.write_text("step,loss\n", encoding="utf-8")
        else:
            picture = Image.new("RGB", (640, 40), "white")
            ImageDraw.Draw(picture).text((10, 14), f"{step.name}: {WHY}", fill="black")
            picture.save(source)
        context.publish_plain(source, target)
