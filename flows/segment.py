"""The flow behind `glus/segment`: a person's own videos, as `glus segment` does them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from prefect import flow
from prefect.states import Failed, State
from pydantic import BaseModel, ConfigDict, Field

from flows.commands import Place, ProgressArtifact
from flows.pipeline import end_with_worker, execution_name
from glus.paths import FINAL_MODEL


class VideoRequest(BaseModel):
    """What `glus segment` is asked for. Paths lie on the machine of the worker and count from the clone."""

    model_config = ConfigDict(extra="forbid")

    videos: list[str] = Field(min_length=1, description="Films, folders of frames, or tables (.csv) of both columns.")
    expressions: list[str] = Field(default=[], description="What to segment, a sentence each; tables bring their own.")
    output: str = Field(description="Folder to write; of several videos, a folder in it for each.")
    model: str = Field(default=str(FINAL_MODEL), description="Folder of the model.")
    selector: str | None = Field(default=None, description="Folder of a key-frame selector, e.g. models/selector.")
    key_frame: int | None = Field(default=None, ge=0, description="Frame to start from, both ways (counted from 0).")
    frames: str | None = Field(default=None, description="Only frames A to B, B not included, as A:B.")
    every: int = Field(default=1, ge=1, description="Only every N-th frame.")
    window_stride: int = Field(
        default=1, ge=1, description="Frames that one reading of the language model answers for."
    )
    precision: Literal["float32", "bfloat16", "int8", "int4"] = Field(
        default="float32", description="How exactly is computed; `glus segment --help` explains it."
    )
    compiled: bool = Field(
        default=False, description="Compile SAM-2's image encoder, which takes minutes; meant for a GPU."
    )
    formats: list[Literal["parquet", "png", "palette", "coco", "cutout"]] = Field(
        default=[], description="Further forms of the masks; `glus segment --help` explains them."
    )

    def command(self) -> list[str]:
        """The same as a command line; what begins with a dash stays a value."""
        single = {
            name: getattr(self, name)
            for name in ("model", "selector", "key_frame", "frames", "every", "window_stride", "precision", "output")
        }
        options = [f"--{name.replace('_', '-')}={value}" for name, value in single.items() if value is not None]
        options += [f"--expression={sentence}" for sentence in self.expressions]
        options += [f"--format={form}" for form in self.formats]
        options += ["--compile"] if self.compiled else []
        return [sys.executable, "-m", "glus", "segment", *options, "--", *self.videos]


@flow(name="glus", log_prints=False)
def segment(request: VideoRequest) -> State[None] | None:
    """Segments what sentences describe in videos; killed and run again, it goes on where it was."""
    end_with_worker()
    code = Place(Path.cwd(), execution_name()).run(request.command(), ProgressArtifact("segment"))
    if code != 0:
        return Failed(message=f"`glus segment` ended with exit code {code}; the last lines of its log say why.")
    return None
