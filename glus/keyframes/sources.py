"""Where key frames come from (paper Table 5): every source scores all frames, the best one is the key frame.

Shapes: B expressions of one video, T frames.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from torch import Tensor

from glus.errors import InputError
from glus.keyframes.frame_quality import LabellingModel
from glus.media.sources import FrameSource
from glus.processing.staged_frames import staged_frames
from glus.records.split import Expression, StagedSplit, Video

KeyFrameSource = Callable[[StagedSplit, Video, Sequence[Expression]], np.ndarray]  # -> float [B, T]


def first_frame(_: StagedSplit, video: Video, expressions: Sequence[Expression]) -> np.ndarray:
    """No selection: 1 at the first frame, 0 elsewhere."""
    return one_hot([0] * len(expressions), video.num_frames)


class RandomFrame:
    """A frame drawn from the seed and the expression's name alone, whatever else is scored."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def __call__(self, split: StagedSplit, video: Video, expressions: Sequence[Expression]) -> np.ndarray:
        """1 at the drawn frame, 0 elsewhere."""
        names = [f"{split.dataset}/{split.split}/{video.video_id}/{item.expression_id}" for item in expressions]
        return one_hot([drawn_frame(name, self._seed, video.num_frames) for name in names], video.num_frames)


class OracleFrame:
    """The IoU that the labelling model reaches on each frame: what the selector is trained to foresee."""

    def __init__(self, model: LabellingModel) -> None:
        self._model = model

    def __call__(self, split: StagedSplit, video: Video, expressions: Sequence[Expression]) -> np.ndarray:
        """IoU with the ground truth; -1 where there is nothing to see, which cannot start a track.

        Raises:
            InputError: the split has no ground truth.
        """
        if not split.has_masks:
            raise InputError(
                f"{split.dataset}/{split.split} has no ground truth, which the key-frame source oracle_frame needs;"
                " choose another one (keyframes.source)."
            )
        quality = self._model.judge(split, video, expressions)
        return np.where(quality.target_present, quality.iou, -1.0)


class SelectorScores:
    """What a selector makes of each frame: fine-tuned its scores (B.4), untuned its answers (Table 5, off the shelf).

    Args:
        score: frames and texts -> float [B, T].
    """

    def __init__(self, score: Callable[[FrameSource, list[str]], Tensor]) -> None:
        self._score = score

    def __call__(self, split: StagedSplit, video: Video, expressions: Sequence[Expression]) -> np.ndarray:
        """Scores.

        Raises:
            InputError: as `score`; names the video.
        """
        try:
            return self._score(staged_frames(split, video), [expression.text for expression in expressions]).numpy()
        except InputError as error:
            raise InputError(f"{split.dataset}/{split.split}, video {video.video_id}: {error}") from error


class ListedFrames:
    """Key frames from elsewhere, e.g. published ones; see `glus.keyframes.files`."""

    def __init__(self, key_frames: Mapping[tuple[str, str], int]) -> None:
        self._key_frames = key_frames

    def __call__(self, split: StagedSplit, video: Video, expressions: Sequence[Expression]) -> np.ndarray:
        """1 at the listed frame, 0 elsewhere."""
        listed = [self._key_frames[video.video_id, item.expression_id] for item in expressions]
        return one_hot(listed, video.num_frames)


def drawn_frame(name: str, seed: int, num_frames: int) -> int:
    """A frame that depends on the name and the seed alone."""
    digest = hashlib.sha256(f"key frame/{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8]) % num_frames


def one_hot(frames: Sequence[int], num_frames: int) -> np.ndarray:
    """1 at each expression's frame, 0 elsewhere: float32 [B, T]."""
    return np.eye(num_frames, dtype=np.float32)[list(frames)]
