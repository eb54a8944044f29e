"""The golden sequences as what our scorers take: tracks by expression and by object."""

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from glus.masks import encode_rle
from glus.metrics.scoring import ExpressionScore, VideoTask, score_predictions
from glus.metrics.spans import Clip, Spans, read_spans
from glus.records.video import Expression, Video
from glus.staging.readers.revos import FAMILIES


class GoldenSequences:
    """One pack of `goldens/metrics/sequences`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.meta = self.read("meta_expressions")["videos"]
        self.masks = self.read("mask_dict")
        self.predictions = self.read("predictions")
        self.expected = self.read("expected")

    def read(self, name: str) -> Any:
        path = self.folder / f"{name}.json"
        if not path.is_file():
            pytest.skip(f"{path} is not there")
        return json.loads(path.read_text())

    def size(self, video_id: str) -> tuple[int, int]:
        return self.meta[video_id]["height"], self.meta[video_id]["width"]

    def track(self, video_id: str, rles: list) -> dict[int, str]:
        """All frames of a list of run lengths or null."""
        empty = encode_rle(np.zeros(self.size(video_id), dtype=bool))
        return {index: rle["counts"] if rle else empty for index, rle in enumerate(rles)}

    def clip(self, video_id: str) -> Clip:
        """The frames of a video."""
        return Clip(len(self.meta[video_id]["frames"]), *self.size(video_id))

    def spans(self, video_id: str, tracks: list[list]) -> list[Spans]:
        """Some lists of run lengths or null."""
        return [read_spans(self.track(video_id, track).items(), self.clip(video_id)) for track in tracks]

    def answer(self, name: str) -> list:
        return self.predictions["tracks"][name]

    def score(
        self, video_id: str, targets: dict[str, list[str]], answers: dict[str, str], kinds: dict[str, str | None]
    ) -> list[ExpressionScore]:
        """Scores expressions of one video.

        Args:
            targets: expression id -> annotation ids.
            answers: expression id -> name of the predicted track.
            kinds: expression id -> family.
        """
        frames = tuple(self.meta[video_id]["frames"])
        used = {name for names in targets.values() for name in names}
        task = VideoTask(
            dataset="golden",
            split="golden",
            video=Video(video_id, len(frames), *self.size(video_id), frames, video_id, ()),
            expressions=tuple(
                Expression(video_id, name, name, (), tuple(names), kinds.get(name)) for name, names in targets.items()
            ),
            truth={name: self.track(video_id, self.masks[name]) for name in used},
            predictions={name: self.track(video_id, self.answer(answers[name])) for name in targets},
        )
        return score_predictions(task, 0.008)

    @cached_property
    def scores(self) -> list[ExpressionScore]:
        """Scores of the main set."""
        result = []
        for video_id, entry in self.meta.items():
            expressions = entry["expressions"]
            targets = {name: [str(anno) for anno in item["anno_id"]] for name, item in expressions.items()}
            kinds = {name: FAMILIES[str(item["type_id"])] for name, item in expressions.items()}
            result += self.score(video_id, targets, self.predictions["expression"][video_id], kinds)
        return result

    def objects(self, video_id: str) -> tuple[list[str], list[Spans], list[Spans]]:
        """DAVIS objects of a video: their numbers, predicted tracks and ground truth."""
        listed = self.predictions["davis"][video_id]
        numbers = sorted(listed, key=int)
        pred = self.spans(video_id, [self.answer(listed[name]["pred_track"]) for name in numbers])
        gt = self.spans(video_id, [self.masks[str(listed[name]["gt_anno_id"])] for name in numbers])
        return numbers, pred, gt
