"""A tiny selector with random weights, and clips of noise to show it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM

from glus import KeyFrameSelector
from glus.processing.selector_conversation import selector_texts
from glus.processing.sentences import SCORE
from glus.processing.tokenizer import train_tokenizer
from glus.processing.transforms import build_clip_processor
from glus.records.split import StagedSplit
from glus.records.tables import write_table
from glus.selector.model import build_score_head


def build_selector(seed: int = 0) -> KeyFrameSelector:
    tokenizer = train_tokenizer([*selector_texts(), "the small red circle", "the large blue square that moves"], 360)
    tokenizer.add_tokens([SCORE])
    torch.manual_seed(seed)
    language = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        initializer_range=0.2,
        pad_token_id=0,
    )
    vision = CLIPVisionConfig(
        image_size=32, patch_size=8, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2
    )
    return KeyFrameSelector(
        vision_tower=CLIPVisionModel(vision),
        mm_projector=nn.Linear(16, 32),
        language_model=LlamaForCausalLM(language),
        tokenizer=tokenizer,
        image_processor=build_clip_processor(32),
        clusters=(8, 4, 2),
        neighbours=(5, 3, 3),
        score_head=build_score_head(32, 16),
    ).eval()


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def selector() -> KeyFrameSelector:
    return build_selector()


@pytest.fixture
def clip() -> np.ndarray:
    """Seven frames of noise, uint8 [7, 40, 48, 3]."""
    return np.random.default_rng(0).integers(0, 256, (7, 40, 48, 3), dtype=np.uint8)


def _stage_split(directory: Path, videos: dict[str, list[str]]) -> StagedSplit:
    """A split of three-frame videos with the given expressions."""
    split = directory / "synthetic/train"
    key = {"dataset": "synthetic", "split": "train"}
    write_table(
        "videos",
        [
            {
                **key,
                "video_id": video,
                "num_frames": 3,
                "height_px": 8,
                "width_px": 8,
                "frame_names": [f"{index:05d}" for index in range(3)],
                "frame_dir": video,
                "grey_frames": [],
            }
            for video in videos
        ],
        split / "videos.parquet",
    )
    write_table(
        "expressions",
        [
            {
                **key,
                "video_id": video,
                "expression_id": expression,
                "expression": f"thing {expression}",
                "object_ids": ["1"],
                "annotation_ids": ["1"],
                "family": "appearance",
            }
            for video, expressions in videos.items()
            for expression in expressions
        ],
        split / "expressions.parquet",
    )
    return StagedSplit(split, directory)


@pytest.fixture
def stage_split() -> Callable[[Path, dict[str, list[str]]], StagedSplit]:
    return _stage_split
