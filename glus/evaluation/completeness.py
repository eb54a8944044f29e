"""Whether everything that is to be averaged is there: counted before anything is scored, and named where it is not."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from glus.errors import InputError, name_some
from glus.records.video import Key


def find_missing(expected: Mapping[Key, int], found: Mapping[Key, Collection[int]]) -> dict[Key, list[int]]:
    """Frames without a prediction.

    Args:
        expected: (video id, expression id) -> number of frames.
        found: (video id, expression id) -> indices of the predicted frames.
    """
    missing = {}
    for key, num_frames in expected.items():
        frames = set(range(num_frames)).difference(found.get(key, ()))
        if frames:
            missing[key] = sorted(frames)
    return missing


def describe_missing(missing: Mapping[Key, Sequence[int]], expected: Mapping[Key, int]) -> list[str]:
    """One phrase for each incomplete expression."""
    return [
        f"video {video}, expression {name}: "
        + (f"all {len(frames)} frames" if len(frames) == expected[video, name] else f"frames {_ranges(frames)}")
        + " missing"
        for (video, name), frames in missing.items()
    ]


def require_complete(expected: Mapping[Key, int], found: Mapping[Key, Collection[int]], source: str) -> None:
    """Checks that every frame of every expression is predicted, before anything is averaged.

    Args:
        expected: (video id, expression id) -> number of frames.
        found: (video id, expression id) -> indices of the predicted frames.
        source: what holds the predictions, for the error.

    Raises:
        InputError: naming what is missing, or predicted though it is not in the split.
    """
    missing = find_missing(expected, found)
    faults = [f"video {video}, expression {name} is not in the split" for video, name in found.keys() - expected.keys()]
    faults += describe_missing(missing, expected)
    for (video, name), num_frames in expected.items():
        beyond = sorted(set(found.get((video, name), ())) - set(range(num_frames)))
        if beyond:
            faults.append(f"video {video}, expression {name}: frames {_ranges(beyond)} do not exist")
    if faults:
        raise InputError(
            f"{source}: {len(missing)} of {len(expected)} expressions are incomplete, and a mean over the rest would"
            f" mislead: {name_some(faults)}. Run `glus propagate` again."
        )


def _ranges(indices: Sequence[int]) -> str:
    """[0, 1, 2, 5] -> "0-2, 5"."""
    breaks = np.flatnonzero(np.diff(indices) > 1) + 1
    runs = [run.tolist() for run in np.split(np.asarray(indices), breaks)]
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
