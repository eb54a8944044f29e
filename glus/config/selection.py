"""Sections `pseudolabel`, `selector` and `keyframes` (paper 4.4, B.4, Table B)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from glus.config.base import Positive, Section, SplitName, Weight, WindowStride
from glus.config.model import LoraConfig
from glus.config.training import OptimiserConfig


class PseudolabelConfig(Section):
    """Step 3, paper 4.4 and B.4."""

    checkpoint: str  # folder of the early-stop model
    share: Annotated[float, Field(gt=0, le=1)]  # of the training videos; B.4: half
    use_memory: bool  # false: each frame is judged as a start, not by what memory made of the frames before it
    memory_stride: Positive
    window_stride: WindowStride
    shard_videos: Positive  # videos per shard, the unit of resuming


class SelectorModelConfig(Section):
    """Chat-UniVi's visual tokens: clusters kept by each merging step, and neighbours of its density."""

    base: str | None  # folder of Chat-UniVi weights; null: CLIP, projector and LLaMA of the labelling model
    vision_tower: str | None  # folder of a CLIP tower for a base that has none of its own
    clusters: Annotated[list[Positive], Field(min_length=1)]  # published: 64, 32, 16 of 256 tokens
    neighbours: Annotated[list[Positive], Field(min_length=1)]  # published: 5, 3, 3
    lora: LoraConfig
    head_size: Positive  # width of the score head's middle layer; published: 256


class SelectorConfig(Section):
    """Step 4, paper 4.4, B.4, Table B."""

    model: SelectorModelConfig
    num_context_frames: Annotated[list[Positive], Field(min_length=2, max_length=2)]  # fewest, most; Table B: 8
    num_query_frames: Positive  # Table B: 1; more share the context, so that a frame costs less
    query_in_context: bool  # true: query frames are context frames too, as the published code draws them
    steps: Positive
    samples: Positive
    accumulation: Positive
    max_expressions: Positive
    optimiser: OptimiserConfig
    score_weight: Weight  # lambda_s, Table B
    ce_weight: Weight
    absent_is_ideal: bool  # true: frames without target and prediction count as IoU 1, as published
    held_out: Annotated[float, Field(gt=0, lt=1)]  # share of the labelled videos kept for validation
    trainable: list[Literal["vision_tower", "mm_projector", "language", "lora", "embeddings", "lm_head", "score_head"]]
    vary_conversation: bool
    checkpoint_every: Positive
    log_every: Positive


KeyFrameSourceName = Literal["selector", "chat_univi", "first_frame", "random_frame", "oracle_frame", "file"]


class KeyframesConfig(Section):
    """Step 5, paper B.4, Table 5: a score for every frame, the key frame is the best one."""

    source: KeyFrameSourceName
    comparisons: list[KeyFrameSourceName]  # further sources, to show what the selection is worth
    files: dict[SplitName, str]  # for `file`: JSON or Parquet of each evaluation split's key frames
    max_context_frames: Positive  # published: 11
    batch: Positive  # sequences per forward pass
