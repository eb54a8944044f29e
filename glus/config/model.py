"""Section `model`: the shapes of GLUS and how it remembers (paper B.1, Table A)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from glus.config.base import BelowOne, Count, Positive, Section

LONGEST_CONVERSATION = 2048  # positions of a language model that is built from scratch


class LanguageConfig(Section):
    """Shape of a language model that is built from scratch (ignored where `model.base` names weights)."""

    vocabulary: Annotated[int, Field(ge=320, lt=2**31)]  # of sentencepiece: 256 bytes, marks and the letters
    hidden_size: Positive
    intermediate_size: Positive
    num_layers: Positive
    num_heads: Positive


class VisionConfig(Section):
    """Shape of a CLIP tower that is built from scratch (ignored where `model.vision_tower` names weights)."""

    image_size: Positive  # pixels; 224 in Table A
    patch_size: Positive
    hidden_size: Positive
    intermediate_size: Positive
    num_layers: Positive
    num_heads: Positive


class MemoryConfig(Section):
    """The memory bank (4.2, B.1): which masks are remembered while training."""

    train_stride: Positive  # 1 in B.2
    max_strided: Positive  # strided memories beside the previous frame: 6, so 7 in all (B.3)
    detach: bool  # true: no gradient through memory, as the published code; false: as the paper says


LoraTarget = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class LoraConfig(Section):
    """Low-rank adapters on the language model (Table A); rank 0 trains without them."""

    rank: Count
    alpha: Positive
    dropout: BelowOne
    targets: list[LoraTarget]


class ModelConfig(Section):
    """GLUS: CLIP tower, projector, LLaMA, [SEG] projector, SAM-2."""

    num_context_frames: Count  # Table A: 4; 0: local reasoning alone (Table 4)
    num_query_frames: Positive  # Table A: 4
    base: str | None  # folder of pretrained weights; null: built from the shapes below, trained from scratch
    vision_tower: str | None  # folder of a CLIP tower for a base that has none of its own
    sam2_weights: str | None  # SAM-2 checkpoint
    sam2_config: str  # name of a configuration of the sam2 package, or a YAML file
    language: LanguageConfig
    vision: VisionConfig
    token_pool: Positive  # visual tokens in raster order averaged into one: 4 (5.2)
    seg_layer: Literal["last", "penultimate"]  # B.1 says penultimate; released weights need last
    trailing_space: bool  # prompts end in a blank piece before [SEG], as released weights expect
    dynamic_multimask: bool  # inference may take mask tokens 1 to 3 where token 0 is unstable; released weights: true
    memory: MemoryConfig
    lora: LoraConfig
