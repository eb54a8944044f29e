"""A tiny GLUS with random weights, and frames to feed it."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from PIL import Image

from glus import GLUS
from glus.config import Config, load_config
from glus.model.scratch import build_from_scratch
from glus.processing.conversation import conversation_texts
from glus.processing.sentences import IM_END, IM_START, SEG
from glus.processing.tokenizer import train_tokenizer


@pytest.fixture(scope="session")
def config(root) -> Config:
    return load_config(root / "params.yaml")


@pytest.fixture(scope="session")
def trained_tokenizer():
    tokenizer = train_tokenizer([*conversation_texts(), "the red circle", "the small green square"], 400)
    tokenizer.add_tokens([SEG, IM_START, IM_END])
    return tokenizer


@pytest.fixture
def tokenizer(trained_tokenizer):
    """A copy: a selector adds a token to it."""
    return deepcopy(trained_tokenizer)


@pytest.fixture
def model(config, tokenizer, root, monkeypatch) -> GLUS:
    torch.set_num_threads(1)
    monkeypatch.chdir(root)
    return build_from_scratch(config.model, tokenizer, seed=0).eval()


@pytest.fixture
def always_seg(model, monkeypatch) -> GLUS:
    """The model, made to say [SEG] wherever it is asked."""
    logits = model.seg_logits

    def forced(hidden):
        values = logits(hidden)
        values[..., model.seg_id] = values.max() + 1
        return values

    monkeypatch.setattr(model, "seg_logits", forced)
    return model


@pytest.fixture
def frames() -> list[Image.Image]:
    noise = np.random.default_rng(0).integers(0, 255, (9, 48, 64, 3), dtype=np.uint8)
    return [Image.fromarray(frame) for frame in noise]
