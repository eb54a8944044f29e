"""Section `train`: phases, losses, optimiser (paper B.2, Table A)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from glus.config.base import BelowOne, Count, Positive, Rate, Section, Share, Weight


class OptimiserConfig(Section):
    """AdamW and its schedule (Table A)."""

    learning_rate: Rate
    betas: Annotated[list[BelowOne], Field(min_length=2, max_length=2)]
    weight_decay: Weight  # on matrices only
    warmup_steps: Count
    schedule: Literal["linear", "cosine", "constant"]
    clip_norm: Rate
    rate_factors: dict[str, Rate]  # part of `trainable` -> its share of the rate; 1 for parts that are not named


class PhaseConfig(Section):
    """What every training phase has: how many steps, of how many samples, drawn from which families."""

    steps: Count
    samples: Positive  # clips per batch
    accumulation: Positive  # batches per step, shared by all training processes
    max_expressions: Positive  # expressions drawn per clip
    families: list[str]  # families of expressions to draw from; empty: all
    optimiser: OptimiserConfig


class SingleQueryPhaseConfig(PhaseConfig):
    """Words and one query frame: what stands for LLaVA's and LISA's pretraining (0 steps with real weights)."""

    num_context_frames: Count  # that the query frame has before it, from the whole video
    word_prediction: Weight  # of the loss by which [SEG] states have to predict the words of their conversation


class GroundingConfig(Section):
    """Looking for what only other frames tell, which a language model from scratch does not learn from masks."""

    families: list[str]  # of expressions that ask for it, in all phases with words; empty: none, as in the paper
    naming: Weight  # of the loss by which visual tokens have to predict the words for what they show
    pointing: Weight  # of the loss by which [SEG] prompts have to name a place in SAM-2's code for points


class TrackingPhaseConfig(PhaseConfig):
    """A true first mask carried on, no words: what stands for SAM-2's pretraining at the tiny size."""

    num_frames: Annotated[int, Field(ge=2)]


class ClipPhaseConfig(PhaseConfig):
    """The paper's training: context and query frames, memory, all losses (4.1 to 4.3)."""

    use_memory: bool  # false: query frames do not read the masks of those before them (Table 4 without MB)
    reverse: Share  # share of the query windows that are played backwards; 0 in the paper
    into_grey: Share  # share of the windows that go on into frames where what is meant cannot be told (grey ones)
    fresh_text_hidden_fcs: bool  # true: the [SEG] projector starts at random, as published; the paper takes LISA's
    sum_annotations: bool  # true: annotations of an expression are added, so overlaps count 2, as published


class LossConfig(Section):
    """Weights of the losses that each mask and each [SEG] has (Table A)."""

    ce: Weight
    bce: Weight
    dice: Weight


class ContrastiveConfig(Section):
    """The object contrastive loss and its token bank (4.3, Table A); weight 0 trains without it."""

    weight: Weight
    temperature: Rate
    bank_size: Positive
    num_negatives: Positive
    same_object_negatives: bool  # true: the same object at another time counts as a negative, as published
    single_contributor: bool  # false: the term is dropped where one token alone contributes, as published


Trainable = Literal[
    "vision_tower", "mm_projector", "language", "lora", "embeddings", "lm_head", "text_hidden_fcs",
    "image_encoder", "mask_decoder", "prompt_encoder", "memory_attention", "memory_encoder",
]  # fmt: skip


ALIGNMENT_PARTS: tuple[Trainable, ...] = ("vision_tower", "mm_projector", "language", "embeddings", "text_hidden_fcs")
IMAGE_PARTS: tuple[Trainable, ...] = (
    "vision_tower", "mm_projector", "language", "embeddings", "lm_head", "text_hidden_fcs",
    "image_encoder", "mask_decoder", "prompt_encoder", "memory_attention",
)  # fmt: skip
TRACKING_PARTS: tuple[Trainable, ...] = (
    "image_encoder", "mask_decoder", "prompt_encoder", "memory_attention", "memory_encoder",
)  # fmt: skip


class TrainConfig(Section):
    """Step 2, paper 4.1 to 4.3, B.2, Table A."""

    alignment: SingleQueryPhaseConfig  # without the mask branch
    image: SingleQueryPhaseConfig
    tracking: TrackingPhaseConfig
    clip: ClipPhaseConfig
    grounding: GroundingConfig
    loss: LossConfig
    loss_mean: Literal["micro_batch", "global"]  # over the masks of each batch, then over batches; over all of a step
    contrastive: ContrastiveConfig
    trainable: list[Trainable]  # parts trained in the clip phase
    early_stop_step: Positive  # B.4: the step whose weights label the frames, counted over all phases
    kept_steps: list[Positive]  # whose models are kept too, beside the early stop's and the last (Figure 4)
    vary_conversation: bool  # draw question and answer texts as published; false: always those of inference
    checkpoint_every: Positive  # steps
    log_every: Positive  # steps

    @property
    def total_steps(self) -> int:
        """Steps of all phases."""
        return self.steps_before_clip + self.clip.steps

    @property
    def steps_before_clip(self) -> int:
        """Steps of the phases that stand for pretraining."""
        return self.alignment.steps + self.image.steps + self.tracking.steps

    @property
    def steps_to_keep(self) -> list[int]:
        """Steps before the last whose models are kept, in their order."""
        return sorted({self.early_stop_step, *self.kept_steps})
