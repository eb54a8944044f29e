"""The selector's loss: the text's cross-entropy plus the score's L1 distance to the IoU (paper B.4, equation F)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from glus.selector.model import KeyFrameSelector, Reading, SelectorOutput
from glus.selector.sampling import SelectorBatch


class SelectorObjective(nn.Module):
    """What training the selector minimises.

    Args:
        model: the selector trained.
        score_weight: lambda_s; 1 in Table B.
        ce_weight: of the text's cross-entropy; 1 in the paper.
    """

    def __init__(self, model: KeyFrameSelector, score_weight: float, ce_weight: float) -> None:
        super().__init__()
        self.model, self.score_weight, self.ce_weight = model, score_weight, ce_weight

    def forward(self, batch: SelectorBatch) -> dict[str, Tensor]:
        """Scalars `loss`, `ce` and `score`."""
        counts = [len(frames) for sample in batch.samples for frames in (sample.context, sample.queries)]
        pixels = torch.cat([frames for sample in batch.samples for frames in (sample.context, sample.queries)])
        tokens = self.model.encode_frames(pixels).split(counts)
        readings = [
            Reading(context, queries, sample.tails)
            for context, queries, sample in zip(tokens[::2], tokens[1::2], batch.samples, strict=True)
        ]
        ce, score = selector_losses(self.model(readings), [sample.targets for sample in batch.samples])
        return {"loss": self.ce_weight * ce + self.score_weight * score, "ce": ce.detach(), "score": score.detach()}


def selector_losses(output: SelectorOutput, targets: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Cross-entropy (mean over supervised tokens) and L1 (mean within a sample, then over samples).

    Args:
        output: of one reading per sample.
        targets: float [B, Nq] for each sample, in 0..1.
    """
    ce = functional.cross_entropy(output.logits.float(), output.labels)
    distances = [
        functional.l1_loss(scores.float(), target) for scores, target in zip(output.scores, targets, strict=True)
    ]
    return ce, torch.stack(distances).mean()
