"""What stands for the pretraining of the language model: the losses of the alignment phase and of the image phase.

Shapes: B expressions of S clips with one query frame each, D language width, V words.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from glus.config import LossConfig
from glus.model.glus import GlusModel
from glus.model.mllm import HiddenStates
from glus.training.segmentation.batch import ClipBatch
from glus.training.segmentation.grounding import grounding_losses
from glus.training.segmentation.losses import seg_cross_entropy
from glus.training.segmentation.objectives import encode_clip, mask_losses, seg_hidden


class AlignmentObjective(nn.Module):
    """The language model alone, without the mask branch, so that a step costs a fraction.

    Args:
        model: the model trained.
        word_prediction: weight of `word_prediction_loss`.
    """

    def __init__(self, model: GlusModel, word_prediction: float) -> None:
        super().__init__()
        self.model, self.word_prediction = model, word_prediction

    def forward(self, batch: ClipBatch) -> dict[str, Tensor]:
        """Losses of a batch with one query frame."""
        hidden = seg_hidden(self.model, batch)
        prompts = self.model.seg_prompts(hidden.seg)
        total, parts = _language_losses(self.model, batch, hidden, prompts, self.word_prediction)
        return {"loss": total, **parts}


class ImageObjective(nn.Module):
    """Frames without memory.

    The cross entropy of [SEG] trains the LM head only: its target is the same at every position, and from scratch it
    would turn all [SEG] states into one direction before the words are learned. What a pretrained language model brings
    instead is that its states know what was said (`word_prediction_loss`) and what is seen (`.grounding`).

    Args:
        model: the model trained.
        loss: weights of CE, BCE and DICE.
        word_prediction: weight of `word_prediction_loss`.
    """

    def __init__(self, model: GlusModel, loss: LossConfig, word_prediction: float) -> None:
        super().__init__()
        self.model, self.loss, self.word_prediction = model, loss, word_prediction

    def forward(self, batch: ClipBatch) -> dict[str, Tensor]:
        """Losses of a batch with one query frame."""
        hidden = seg_hidden(self.model, batch)
        prompts = self.model.seg_prompts(hidden.seg)
        ce = seg_cross_entropy(self.model.seg_logits(hidden.last.detach()), self.model.seg_id)
        features = encode_clip(self.model, batch.sam2_pixels)[batch.clip_of]
        conditioned = self.model.masks.condition(features, [])
        logits = self.model.masks.decode(conditioned, features, prompts[:, 0], dynamic_multimask=False)
        bce, dice = mask_losses(logits.unsqueeze(1), batch.targets)
        total = self.loss.ce * ce + self.loss.bce * bce + self.loss.dice * dice
        learned, parts = _language_losses(self.model, batch, hidden, prompts, self.word_prediction)
        return {"loss": total + learned, "ce": ce.detach(), "bce": bce.detach(), "dice": dice.detach(), **parts}


def _language_losses(
    model: GlusModel, batch: ClipBatch, hidden: HiddenStates, prompts: Tensor, word_prediction: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum, and the parts by name."""
    words = word_prediction_loss(hidden.seg[:, 0], batch.input_ids, model.language_model.model.embed_tokens.weight)
    total, parts = word_prediction * words, {"word_prediction": words}
    if batch.grounding is not None:
        asked, found = grounding_losses(model, hidden, prompts, batch.grounding, batch.targets)
        total, parts = total + asked, parts | found
    return total, {name: loss.detach() for name, loss in parts.items()}


def word_prediction_loss(states: Tensor, input_ids: Tensor, embeddings: Tensor) -> Tensor:
    """How well states name the words by which the conversations of a batch differ.

    Cross entropy between the softmax over all words, read through their input embeddings, and the uniform distribution
    over the words of a conversation that are not in every other one. Without it the prompts of different expressions
    run together on some seeds, and the words are found hundreds of steps later.

    Args:
        states: float [B, D].
        input_ids: int [B, L], negative where an image stands.
        embeddings: float [V, D].
    """
    said = torch.zeros(len(input_ids), len(embeddings), device=states.device)
    said.scatter_(1, input_ids.clamp(min=0), 1.0)
    telling = said * (said.mean(dim=0) < 1)
    target = telling / telling.sum(dim=1, keepdim=True).clamp(min=1)
    return -(target * functional.log_softmax(states @ embeddings.T, dim=1)).sum(dim=1).mean()
