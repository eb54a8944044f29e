"""The selector's loss: the text's cross-entropy plus the score's L1 distance to the IoU (paper B.4, equation F)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn import functional

from glus.selector.model import Reading, SelectorModel, SelectorOutput
from glus.training.selector.samples import SelectorBatch, SelectorSample


class SelectorObjective(nn.Module):
    """What training the selector minimises.

    Args:
        model: the selector trained.
        score_weight: lambda_s; 1 in Table B.
        ce_weight: of the text's cross-entropy; 1 in the paper.
    """

    def __init__(self, model: SelectorModel, score_weight: float, ce_weight: float) -> None:
        super().__init__()
        self.model, self.score_weight, self.ce_weight = model, score_weight, ce_weight

    def forward(self, batch: SelectorBatch, noise_seed: int | None = None) -> dict[str, Tensor]:
        """Scalars `loss`, `ce` and `score`.

        Args:
            batch: the samples of a step.
            noise_seed: only the parity tests give one: of the published noise of the clustering. Published training
                draws it anew for the frames of every expression, so that expressions share nothing: as many readings
                as expressions instead of samples. None: deterministic.
        """
        frames = [torch.cat([sample.context, sample.queries]) for sample in batch.samples]
        patches = self.model.encode_patches(torch.cat(frames))
        counts = [len(part) for part in frames]
        if noise_seed is None:
            tokens = self.model.merge_patches(patches).split(counts)
            output = self.model([_reading(sample, part) for sample, part in zip(batch.samples, tokens, strict=True)])
        else:
            output = self._read_with_noise(batch, patches.split(counts), torch.Generator().manual_seed(noise_seed))
        ce, score = selector_losses(output, [sample.targets for sample in batch.samples])
        return {"loss": self.ce_weight * ce + self.score_weight * score, "ce": ce.detach(), "score": score.detach()}

    def _read_with_noise(
        self, batch: SelectorBatch, patches: Sequence[Tensor], noise: torch.Generator
    ) -> SelectorOutput:
        """One reading for each expression; its scores by sample, as without noise."""
        readings = [
            _reading(replace(sample, tails=(tail,)), self.model.merge_patches(part, noise))
            for sample, part in zip(batch.samples, patches, strict=True)
            for tail in sample.tails
        ]
        output = self.model(readings)
        scores = iter(output.scores)
        return replace(output, scores=[torch.cat([*islice(scores, len(sample.tails))]) for sample in batch.samples])


def _reading(sample: SelectorSample, tokens: Tensor) -> Reading:
    """A sample with the visual tokens of its frames, context before query frames."""
    num_context = len(sample.context)
    return Reading(tokens[:num_context], tokens[num_context:], sample.tails)


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
