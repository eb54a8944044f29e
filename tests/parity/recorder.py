"""What a model does inside `segment_video`, step after step, seen by wrapping its own calls."""

from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from glus import GLUS
from glus.model.sam2 import DecodedMasks
from glus.model.sharing import SharedCache


class StepRecorder:
    """Records one expression's steps in the order in which they are decoded.

    Args:
        missed: steps at which [SEG] does not win, whatever the model says.
    """

    def __init__(self, model: GLUS, patch: pytest.MonkeyPatch, missed: Collection[int] = ()) -> None:
        self._hits: list[bool] = []
        self._rows: dict[str, list[np.ndarray]] = {}
        self._model, self._missed = model, set(missed)
        decoder = model.masks.sam2.sam_mask_decoder
        for owner, name, look in (
            (model.mllm, "read_endings", self._positions),
            (model, "seg_logits", self._next_token),
            (model.masks, "condition", self._conditioned),
            (decoder, "predict_masks", self._all_tokens),
            (model.masks, "decode", self._decoded),
            (model.masks, "remember", self._remembered),
        ):
            patch.setattr(owner, name, _watched(getattr(owner, name), look))

    def steps(self, name: str) -> np.ndarray:
        """A quantity of every step, [N, ...]; NaN (or -1) at misses for what the mask decoder did not do."""
        rows = self._rows[name]
        if len(rows) == len(self._hits):
            return np.stack(rows)
        blank = np.full_like(rows[0], -1 if rows[0].dtype.kind == "i" else np.nan)
        found = iter(rows)
        return np.stack([next(found) if hit else blank for hit in self._hits])

    def _keep(self, name: str, rows: Tensor) -> None:
        self._rows.setdefault(name, []).extend(row.numpy().copy() for row in rows.detach())

    def _positions(self, _: Any, __: Tensor, ___: Tensor, positions: Tensor, before: SharedCache) -> None:
        self._keep("n_llm_positions", before.get_seq_length() + positions.flatten() + 1)

    def _next_token(self, logits: Tensor, states: Tensor) -> None:
        first = len(self._hits)
        self._keep("lm_hidden_last", states)
        self._keep("lm_logits_last", logits)
        forced = [row for row in range(len(logits)) if first + row in self._missed]
        logits[forced, self._model.seg_id] = -torch.inf
        best = logits.argmax(dim=-1)
        self._keep("generated_id", best)
        self._hits.extend((best == self._model.seg_id).tolist())

    def _conditioned(self, conditioned: Tensor, *_: Any) -> None:
        self._keep("pix_feat_cond", conditioned.flatten(2).transpose(1, 2))

    def _all_tokens(self, output: tuple[Tensor, ...], **_: Any) -> None:
        masks, ious, _, object_score = output
        delta = self._model.masks.sam2.sam_mask_decoder.dynamic_multimask_stability_delta
        inner, outer = ((masks[:, 0] > bound).sum(dim=(1, 2)) for bound in (delta, -delta))
        self._keep("token0_low_res", masks[:, 0])
        self._keep("iou_all", ious)
        self._keep("stability", torch.where(outer > 0, inner / outer, 1.0))
        self._keep("object_score_logit", object_score.flatten())

    def _decoded(self, decoded: DecodedMasks, *_: Any) -> None:
        logits = decoded.logits.double()
        moments = (
            logits.mean(dim=(1, 2)),
            logits.std(dim=(1, 2), correction=0),
            (logits > 0).double().mean(dim=(1, 2)),
        )
        self._keep("low_res", decoded.logits)
        self._keep("low_res_moments", torch.stack(moments, dim=1))
        self._keep("chosen_mask_token", decoded.mask_token)

    def _remembered(self, memory: Any, *_: Any) -> None:
        self._keep("mem_feat", memory.features)


def _watched(call: Callable[..., Any], look: Callable[..., None]) -> Callable[..., Any]:
    """The same call, whose output and arguments are looked at."""

    def watched(*arguments: Any, **options: Any) -> Any:
        output = call(*arguments, **options)
        look(output, *arguments, **options)
        return output

    return watched
