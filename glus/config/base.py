"""What all sections have in common: how strictly they are read, and the kinds of numbers in them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

# The datasets there are: each has a reader of its name in `glus/staging/readers/`.
DATASETS = ("mevis", "refer_youtube_vos", "ref_davis17", "revos", "lvvis", "reasonvos", "long_rvos", "synthetic", "own")

Share = Annotated[float, Field(ge=0, le=1)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=0, lt=2**31)]
Positive = Annotated[int, Field(ge=1, lt=2**31)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # of numpy and of torch, which is given multiples of it
# Within what the arithmetic of 32 bits holds, its squares and sums too: beyond, they are infinite, or nothing
Rate = Annotated[float, Field(ge=1e-12, le=1e9)]
Weight = Annotated[float, Field(ge=0, le=1e9)]
WindowStride = Literal[1, 2, 4]  # frames that a window of query frames answers for; B.3: 1
TrackerName = Literal["glus", "sam2", "cutie"]  # what carries masks on from the key frame (Table 6)
SplitName = Annotated[str, Field(pattern=rf"^({'|'.join(DATASETS)})/[A-Za-z0-9_][A-Za-z0-9_.-]*$")]  # never `..`
ClipKind = Literal[
    "plain", "occluded", "vanishing", "twins", "greyed", "starts_grey",
    "glimpsed", "opposed", "reappearing", "one_colour", "pairs", "position",
]  # fmt: skip
FAMILIES: dict[str, tuple[str, ...]] = {  # dataset -> families of its expressions, where it tells them apart
    "synthetic": (
        "appearance", "shape", "motion", "position", "several", "occluded", "vanishing", "greyed", "starts_grey",
        "glimpsed", "opposed", "reappearing", "one_colour", "pairs",
    ),
    "revos": ("referring", "reasoning", "absent"),
    "reasonvos": ("sentence", "phrase"),
    "long_rvos": ("static", "dynamic", "hybrid"),
}  # fmt: skip


class Section(BaseModel):
    """Base of all sections: frozen, unknown keys refused, no silent conversions, finite numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
