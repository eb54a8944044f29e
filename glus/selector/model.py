"""The key-frame selector: Chat-UniVi with a score head (paper 4.4 and B.4, equations E and F).

`T` frames, `Nc` context frames, `Nq` query frames, `B` expressions, `P` visual tokens of a frame, `D` language width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor, nn
from transformers import CLIPVisionModel, LlamaForCausalLM
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from glus.errors import InputError
from glus.model.clip import patch_features
from glus.model.packing import lay_out, read_packed, reads_branches
from glus.processing.selector_conversation import Tail, encode_context
from glus.processing.sentences import SCORE
from glus.processing.tokenizer import LlamaSentencePiece
from glus.processing.tokens import expand_images, place_visual_tokens
from glus.selector.token_merging import TokenMerging


@dataclass(frozen=True)
class Reading:
    """Query frames and expressions that share one context.

    Attributes:
        context: float [Nc, P, D], visual tokens of the context frames.
        queries: float [Nq, P, D], visual tokens of the target images.
        tails: B tokenised requests and answers.
    """

    context: Tensor
    queries: Tensor
    tails: Sequence[Tail]


@dataclass(frozen=True)
class SelectorOutput:
    """What the language model says of some readings.

    Attributes:
        scores: float [B, Nq] for each reading; unbounded, trained towards the IoU.
        logits: float [S, V], predictions of the `S` supervised tokens of all tails.
        labels: int64 [S], those tokens.
    """

    scores: list[Tensor]
    logits: Tensor
    labels: Tensor


class SelectorModel(nn.Module):
    """Scores how well a frame shows what an expression means.

    The score is read from the final-norm state one position before `[SCORE]` (the paper speaks of the embedding of
    `<SCORE>` itself; the released weights use the state before it). `[SCORE]` is teacher-forced, nothing is generated.

    Args:
        vision_tower: CLIP; its second-to-last layer is read, without the class token.
        mm_projector: Linear, CLIP width -> D.
        language_model: LLaMA with one embedding for each token of the tokenizer.
        tokenizer: with `[SCORE]`.
        image_processor: preprocessing of the tower.
        clusters: see `TokenMerging`.
        neighbours: see `TokenMerging`.
        score_head: final-norm state -> score, see `build_score_head`.
    """

    def __init__(
        self,
        *,
        vision_tower: CLIPVisionModel,
        mm_projector: nn.Linear,
        language_model: LlamaForCausalLM,
        tokenizer: LlamaSentencePiece,
        image_processor: CLIPImageProcessorPil,
        clusters: Sequence[int],
        neighbours: Sequence[int],
        score_head: nn.Sequential,
    ) -> None:
        super().__init__()
        self.vision_tower = vision_tower
        self.token_merging = TokenMerging(clusters, neighbours)
        self.mm_projector = mm_projector
        self.language_model = language_model
        self.score_head = score_head
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        reads_branches(language_model)

    @property
    def head_size(self) -> int:
        """Width of the score head's middle layer."""
        return int(self.score_head[-1].get_parameter("weight").shape[1])

    def encode_patches(self, pixels: Tensor) -> Tensor:
        """CLIP's patch features: float [T, 3, h, w] -> [T, N, C]."""
        return patch_features(self.vision_tower, pixels)

    def merge_patches(self, patches: Tensor, noise: torch.Generator | None = None) -> Tensor:
        """Visual tokens: patch features [T, N, C] -> [T, P, D].

        Args:
            patches: see `encode_patches`.
            noise: draws the published noise of the clustering, frame after frame; None: deterministic.
        """
        return self.mm_projector(self.token_merging(patches, noise))

    def encode_frames(self, pixels: Tensor, noise: torch.Generator | None = None) -> Tensor:
        """Visual tokens of frames: float [T, 3, h, w] -> [T, P, D]; `noise` as in `merge_patches`."""
        return self.merge_patches(self.encode_patches(pixels), noise)

    def forward(self, readings: Sequence[Reading]) -> SelectorOutput:
        """Reads every query frame under every expression; what they share is read once (see `glus.model.packing`)."""
        stretches, parents, tails = self._stretches(readings)
        lengths = [len(stretch) for stretch in stretches]
        starts = [0, *accumulate(lengths)]
        of_scores = [starts[number] + tail.score_position for tail, number in tails]
        supervised = [
            token
            for tail, number in tails
            for token in range(starts[number] + tail.answer_start - 1, starts[number + 1] - 1)
        ]
        layout = lay_out(lengths, parents, of_scores + supervised).to(stretches[0].device)
        states, _ = read_packed(self.language_model.model, torch.cat(stretches), layout)
        scores = self.score_head(states[: len(tails)].float()).split(
            [len(reading.queries) * len(reading.tails) for reading in readings]
        )
        logits = self.language_model.lm_head(states[len(tails) :])
        labels = [token for tail, _ in tails for token in tail.ids[tail.answer_start :]]
        return SelectorOutput(
            [of.view(-1, len(reading.tails)).T for of, reading in zip(scores, readings, strict=True)],
            logits,
            torch.tensor(labels, device=logits.device),
        )

    def _stretches(self, readings: Sequence[Reading]) -> tuple[list[Tensor], list[int | None], list[tuple[Tail, int]]]:
        """Embeddings [length, D] and parents of stretches, and which of them are the tails.

        Of each reading: its context, its query frames, then each query frame's tails.
        """
        stretches: list[Tensor] = []
        parents: list[int | None] = []
        tails: list[tuple[Tail, int]] = []
        for reading in readings:
            context, own = len(stretches), [self.embed(tail.ids) for tail in reading.tails]
            stretches += [self.embed_context(reading.context), *reading.queries]
            parents += [None, *[context] * len(reading.queries)]
            for query in range(context + 1, len(stretches)):
                tails += zip(reading.tails, range(len(stretches), len(stretches) + len(own)), strict=True)
                stretches += own
                parents += [query] * len(own)
        return stretches, parents, tails

    def embed(self, ids: Sequence[int]) -> Tensor:
        """Word embeddings, float [length, D]."""
        embeddings = self.language_model.model.embed_tokens
        return embeddings(torch.tensor(ids, device=embeddings.weight.device))

    def embed_context(self, context: Tensor) -> Tensor:
        """Everything before the target image: visual tokens [Nc, P, D] within their text, float [length, D].

        Raises:
            InputError: another number of visual tokens than the text has places for.
        """
        num_frames, tokens_per_frame, _ = context.shape
        ids = torch.tensor([expand_images(encode_context(self.tokenizer, num_frames), tokens_per_frame)])
        words = self.embed(ids[0].clamp(min=0).tolist())
        return place_visual_tokens(words[None], ids.to(context.device), context.flatten(0, 1)[None])[0]

    def check_vocabulary(self, origin: str) -> None:
        """Refuses a tokenizer that is not the language model's.

        Raises:
            InputError: other numbers of tokens and embeddings, or no `[SCORE]`.
        """
        rows, has_score = (
            self.language_model.get_input_embeddings().num_embeddings,
            SCORE in self.tokenizer.added_tokens,
        )
        if len(self.tokenizer) != rows or not has_score:
            raise InputError(
                f"{origin} is a selector for another vocabulary: its tokenizer has {len(self.tokenizer)} tokens"
                f" {'with' if has_score else 'without'} {SCORE}, its language model"
                f" {rows} embeddings; take both from one training."
            )


def build_score_head(language_width: int, head_size: int) -> nn.Sequential:
    """Three linear layers with ReLUs, D -> D -> head_size -> 1 (equation F)."""
    return nn.Sequential(
        nn.Linear(language_width, language_width),
        nn.ReLU(),
        nn.Linear(language_width, head_size),
        nn.ReLU(),
        nn.Linear(head_size, 1),
    )


@torch.no_grad()
def add_score_token(language_model: LlamaForCausalLM, tokenizer: LlamaSentencePiece) -> None:
    """Gives a model that never scored frames its `[SCORE]`: one more token, embedding and LM head row.

    The new rows start at the mean of the others, so that the token is neither likely nor unlikely at first.
    """
    tokenizer.add_tokens([SCORE])
    rows = language_model.get_input_embeddings().num_embeddings
    language_model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    for weight in (language_model.model.embed_tokens.weight, language_model.lm_head.weight):
        weight[rows:] = weight[:rows].mean(dim=0)
