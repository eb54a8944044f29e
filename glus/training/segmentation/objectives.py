"""What each phase of training GLUS minimises (paper 4.1 to 4.3, B.2); shapes as in `.batch`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor, nn

from glus.config import ContrastiveConfig, LossConfig, MemoryConfig
from glus.model.glus import GlusModel
from glus.model.memory import MemoryBank
from glus.model.mllm import HiddenStates
from glus.model.sam2 import FrameFeatures, MaskBranch, Memory, resize_logits
from glus.training.loop.group import gather_in_order
from glus.training.segmentation.batch import ClipBatch, TokenKey, TrackBatch
from glus.training.segmentation.contrastive import Picker, TokenBank, contrastive_loss, pick_at_random
from glus.training.segmentation.grounding import grounding_losses
from glus.training.segmentation.losses import bce_per_mask, dice_per_mask, seg_cross_entropy

_MASK_PROMPT_LOGIT = 10.0  # a true mask as decoder logits, for the memory encoder


class ClipObjective(nn.Module):
    """The paper's training loss: CE, BCE, DICE and the contrastive term over one window of query frames.

    Args:
        model: the model trained.
        loss: weights of CE, BCE and DICE.
        contrastive: weight and settings of the contrastive term.
        memory: stride, number of memories, whether they are cut off from the graph; None: frames without memory.
        bank: tokens of earlier steps; `end_step` adds those of the step.
        pick: draws positives and negatives of the contrastive term; the parity tests give one that repeats what the
            published code drew.
    """

    def __init__(
        self,
        model: GlusModel,
        loss: LossConfig,
        contrastive: ContrastiveConfig,
        memory: MemoryConfig | None,
        bank: TokenBank,
        pick: Picker = pick_at_random,
    ) -> None:
        super().__init__()
        self.model, self.loss, self.contrastive, self.memory = model, loss, contrastive, memory
        self.bank, self.pick = bank, pick
        self._spoken: list[tuple[list[TokenKey], Tensor]] = []  # by the batches of this step

    def forward(self, batch: ClipBatch) -> dict[str, Tensor]:
        """Losses of a batch: `loss`, and its unweighted parts."""
        hidden = seg_hidden(self.model, batch)
        prompts = self.model.seg_prompts(hidden.seg)
        ce = seg_cross_entropy(self.model.seg_logits(hidden.last), self.model.seg_id)
        features = encode_clip(self.model, batch.sam2_pixels)
        logits = segment_window(self.model.masks, features, prompts, batch.clip_of, self.memory)
        bce, dice = mask_losses(logits, batch.targets)
        total = self.loss.ce * ce + self.loss.bce * bce + self.loss.dice * dice
        losses = {"ce": ce, "bce": bce, "dice": dice}
        if batch.grounding is not None:
            asked, found = grounding_losses(self.model, hidden, prompts, batch.grounding, batch.targets)
            total, losses = total + asked, losses | found
        if self.contrastive.weight:
            term = self._contrastive_term(prompts.flatten(0, 1), list(chain.from_iterable(batch.keys)))
            if term is not None:
                total = total + self.contrastive.weight * term
            losses["con"] = prompts.new_zeros(()) if term is None else term
            paired = self.bank.has_pair(chain.from_iterable(batch.keys))
            losses["positive_pairs"] = prompts.new_tensor(float(paired))  # its mean: share of batches (4.3)
        return {"loss": total, **{name: value.detach() for name, value in losses.items()}}

    def _contrastive_term(self, prompts: Tensor, keys: list[TokenKey]) -> Tensor | None:
        """The contrastive loss of the batch's prompts, float [B * Nq, C], which the bank gets when the step ends."""
        self._spoken.append((keys, prompts.detach().cpu()))
        return contrastive_loss(
            prompts,
            keys,
            self.bank,
            temperature=self.contrastive.temperature,
            num_negatives=self.contrastive.num_negatives,
            same_object_negatives=self.contrastive.same_object_negatives,
            single_contributor=self.contrastive.single_contributor,
            pick=self.pick,
        )

    def end_step(self) -> None:
        """The tokens of the step enter the bank, those of all processes in the order of the batches."""
        for keys, prompts in gather_in_order(self._spoken):
            self.bank.insert(keys, prompts.to(self.model.device))
        self._spoken = []


class TrackingObjective(nn.Module):
    """A true first mask carried on through memory, without words: the prompt is SAM-2's "not a point" embedding."""

    def __init__(self, model: GlusModel, loss: LossConfig, memory: MemoryConfig) -> None:
        super().__init__()
        self.model, self.loss = model, loss
        self.memory = memory.model_copy(update={"detach": False})  # memory is what is trained here

    def forward(self, batch: TrackBatch) -> dict[str, Tensor]:
        """Losses of the frames after the first."""
        masks = self.model.masks
        features = encode_clip(self.model, batch.sam2_pixels)
        num_frames, num_masks = batch.sam2_pixels.shape[1], len(batch.clip_of)
        prompt = masks.sam2.sam_prompt_encoder.not_a_point_embed.weight.expand(num_masks, -1)
        first = features[batch.clip_of * num_frames]
        truth = [resize_logits(target[:, 0].float(), *first.logit_size) for target in batch.targets]
        given = masks.remember(masks.condition(first, []), (2 * torch.cat(truth) - 1) * _MASK_PROMPT_LOGIT)
        prompts = prompt.unsqueeze(1).expand(-1, num_frames, -1)
        logits = segment_window(masks, features, prompts, batch.clip_of, self.memory, given)
        bce, dice = mask_losses(logits, [target[:, 1:] for target in batch.targets])
        total = self.loss.bce * bce + self.loss.dice * dice
        return {"loss": total, "bce": bce.detach(), "dice": dice.detach()}


def seg_hidden(model: GlusModel, batch: ClipBatch) -> HiddenStates:
    """States at the positions that predict the [SEG] tokens: float [B, Nq, D]."""
    tokens = model.mllm.project(model.mllm.encode_frames(batch.clip_pixels.flatten(0, 1)))
    return model.mllm(batch.conversations, tokens.flatten(0, 1)).unflatten(len(batch.clip_of))


def encode_clip(model: GlusModel, sam2_pixels: Tensor) -> FrameFeatures:
    """Image features of all query frames, once per frame: [S, Nq, 3, S2, S2] -> features of S * Nq frames.

    Runs without gradient unless the image encoder is trained.
    """
    sam2 = model.masks.sam2
    trained = any(parameter.requires_grad for parameter in sam2.image_encoder.parameters())
    with torch.set_grad_enabled(torch.is_grad_enabled() and trained):
        return model.masks.encode(sam2_pixels.flatten(0, 1))


def segment_window(
    masks: MaskBranch,
    features: FrameFeatures,
    prompts: Tensor,
    clip_of: Tensor,
    memory: MemoryConfig | None,
    given: Memory | None = None,
) -> Tensor:
    """Query frames one after the other through the memory bank (4.2), low-resolution logits float [B, Nq, h, w].

    Gradients reach the prompts of earlier frames through the remembered features and the memory attention that reads
    them, unless `memory.detach` cuts them off as published.

    Args:
        features: of the S * Nq query frames of all clips.
        prompts: float [B, Nq, C].
        clip_of: int [B].
        memory: stride, number of memories, whether they are cut off; None: each frame stands alone.
        given: what is remembered of the first frame, which then has no logits: [B, Nq - 1, h, w].
    """
    num_frames = prompts.shape[1]
    if memory is None:
        return _segment_alone(masks, features, prompts, clip_of)
    bank = MemoryBank(memory.train_stride, memory.max_strided)
    if given is not None:
        bank.write(0, given)
    logits: list[Tensor] = []
    for frame in range(len(bank), num_frames):
        of_frame = features[clip_of * num_frames + frame]
        conditioned = masks.condition(of_frame, bank.read(frame))
        logits.append(masks.decode(conditioned, of_frame, prompts[:, frame], dynamic_multimask=False))
        if frame + 1 < num_frames:  # nothing reads what the last one would leave
            remembered = masks.remember(conditioned, logits[-1])
            bank.write(frame, remembered.detach() if memory.detach else remembered)
    return torch.stack(logits, dim=1)


def _segment_alone(masks: MaskBranch, features: FrameFeatures, prompts: Tensor, clip_of: Tensor) -> Tensor:
    """Query frames without memory (Table 4), low-resolution logits float [B, Nq, h, w]."""
    num_frames = prompts.shape[1]
    logits = []
    for frame in range(num_frames):
        of_frame = features[clip_of * num_frames + frame]
        conditioned = masks.condition(of_frame, [])
        logits.append(masks.decode(conditioned, of_frame, prompts[:, frame], dynamic_multimask=False))
    return torch.stack(logits, dim=1)


def mask_losses(logits: Tensor, targets: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """BCE and dice at the original size, plain means over all masks.

    Args:
        logits: float [B, Nq, h, w].
        targets: one [n, Nq, H, W] for each clip, see `ClipBatch`; the n add up to B.
    """
    bce, dice = [], []
    start = 0
    for target in targets:
        low = logits[start : start + len(target)].flatten(0, 1)
        start += len(target)
        full = resize_logits(low, *target.shape[-2:])
        bce.append(bce_per_mask(full, target.flatten(0, 1)))
        dice.append(dice_per_mask(full, target.flatten(0, 1)))
    return torch.cat(bce).mean(), torch.cat(dice).mean()
