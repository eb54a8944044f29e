"""The frames of one video encoded once, and [SEG] read from windows of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from PIL import Image
from torch import Tensor
from transformers import DynamicCache

from glus.model.glus import GlusModel
from glus.model.sam2 import FrameFeatures
from glus.processing.context_frames import centre_context_frames
from glus.processing.conversation import inference_prompt
from glus.processing.sentences import asked_of_glus, require_sentences
from glus.processing.tokenizer import IMAGE_ID
from glus.processing.tokens import expand_images, pad_ids

FRAMES_AT_ONCE = 16  # images per call of an encoder


CONVERSATIONS_AT_ONCE = 36  # sequences per call of the language model


class VideoEncoder:
    """The frames of one video, encoded once for every expression, pass and window.

    Args:
        model: in evaluation mode.
        frames: T frames of one size.
    """

    @torch.inference_mode()
    def __init__(self, model: GlusModel, frames: Sequence[Image.Image]) -> None:
        self.model = model
        self.num_frames = len(frames)
        self.context_frames = centre_context_frames(len(frames), model.settings.num_context_frames)
        tokens, features = [], []
        dtype = model.mllm.mm_projector.weight.dtype
        for start in range(0, len(frames), FRAMES_AT_ONCE):
            chunk = frames[start : start + FRAMES_AT_ONCE]
            pixels = model.transform.clip(chunk).to(model.device, dtype)
            tokens.append(model.mllm.project(model.mllm.encode_frames(pixels)))
            features.append(model.masks.encode(model.transform.sam2(chunk).to(model.device)))
        self.tokens = torch.cat(tokens)
        self._prefix: tuple[list[int], DynamicCache] | None = None
        self._features = features

    @cached_property
    def _context_tokens(self) -> Tensor:
        """Visual tokens of the context frames, [1, Nc * P, D]."""
        return self.tokens[self.context_frames].flatten(0, 1).unsqueeze(0)

    def context_prefix(self, ids: list[int]) -> DynamicCache:
        """Keys and values of the beginning of every conversation about this video: system text and context block."""
        if self._prefix is None or self._prefix[0] != ids:
            input_ids = torch.tensor([ids], device=self.model.device)
            self._prefix = ids, self.model.mllm.read_prefix(input_ids, self._context_tokens)
        return self._prefix[1]

    def features(self, frame: int) -> FrameFeatures:
        """Image features of one frame, one row."""
        chunk, row = divmod(frame, FRAMES_AT_ONCE)
        return self._features[chunk][row : row + 1]


@torch.inference_mode()
def seg_embeddings(video: VideoEncoder, expressions: Sequence[str], frames: Sequence[int]) -> tuple[Tensor, Tensor]:
    """[SEG] embeddings of every frame of a pass.

    The prompt of a frame stands as if all earlier frames were answered, so it depends on no mask and all frames and
    expressions go through the language model together, behind the one context block of the video.

    Returns:
        float [B, W, C] (NaN where [SEG] is not the most likely next token) and bool [B, W], whether it is.
    """
    model = video.model
    prompts = _prompt_ids(model, expressions, len(frames))
    start = prompts[0][0].index(IMAGE_ID, _end_of_context(model, prompts[0][0]))
    prefix = video.context_prefix(prompts[0][0][:start])
    jobs = [(row, step) for row in range(len(expressions)) for step in range(len(frames))]
    embeddings, generated = [], []
    for first in range(0, len(jobs), CONVERSATIONS_AT_ONCE):
        chunk = jobs[first : first + CONVERSATIONS_AT_ONCE]
        rows = [prompts[row][_window(model, step) - 1][start:] for row, step in chunk]
        ids, mask = pad_ids(rows, model.tokenizer.pad_id)
        images = [video.tokens[list(frames[step + 1 - _window(model, step) : step + 1])] for _, step in chunk]
        whole_mask = torch.cat([torch.ones(len(chunk), start, dtype=torch.bool), mask], dim=1)
        images_of_rows = torch.cat([item.flatten(0, 1) for item in images])
        states = model.mllm(ids.to(model.device), whole_mask.to(model.device), images_of_rows, prefix)
        newest = states[torch.arange(len(chunk)), mask.sum(dim=1) - 1]
        hit = model.seg_logits(newest.last).argmax(dim=-1) == model.seg_id
        prompt = model.seg_prompts(newest.seg)
        embeddings.append(prompt.masked_fill(~hit.unsqueeze(1), torch.nan))
        generated.append(hit)
    shape = (len(expressions), len(frames))
    return torch.cat(embeddings).reshape(*shape, -1), torch.cat(generated).reshape(shape)


def _end_of_context(model: GlusModel, ids: list[int]) -> int:
    """Position behind the last visual token of the context block."""
    wanted = model.settings.num_context_frames * model.mllm.tokens_per_frame
    positions = [position for position, token in enumerate(ids) if token == IMAGE_ID]
    return positions[wanted - 1] + 1


def _window(model: GlusModel, step: int) -> int:
    """Query frames in the window of a step: up to Nq, the newest last."""
    return min(step + 1, model.settings.num_query_frames)


def _prompt_ids(model: GlusModel, expressions: Sequence[str], num_frames: int) -> list[list[list[int]]]:
    """Ids of each expression for each window length, images expanded. Raises as `require_sentences`."""
    require_sentences(expressions, model.tokenizer.marks)
    settings = model.settings
    windows = range(1, min(num_frames, settings.num_query_frames) + 1)
    return [
        [
            expand_images(
                model.tokenizer.encode_with_images(
                    inference_prompt(
                        asked_of_glus(expression),
                        settings.num_context_frames,
                        window,
                        trailing_space=settings.trailing_space,
                    )
                ),
                model.mllm.tokens_per_frame,
            )
            for window in windows
        ]
        for expression in expressions
    ]
