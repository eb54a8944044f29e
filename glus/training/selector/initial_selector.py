"""The selector before it is tuned: Chat-UniVi, or at the tiny size the labelling model in its place."""

from __future__ import annotations

import torch
from transformers import CLIPVisionModel, LlamaForCausalLM

from glus.config import SelectorModelConfig
from glus.selector.model import SelectorModel, add_score_token, build_score_head
from glus.weights.loading import load_model
from glus.weights.selector_loading import load_selector_model


def build_untuned(shape: SelectorModelConfig, labelling_model: str) -> SelectorModel:
    """The start of fine-tuning, with a fresh score head.

    Weights have the types that they are stored in, the score head is float32.

    Args:
        shape: which weights, and how visual tokens are merged.
        labelling_model: folder of the model that is taken where `shape.base` names none.
    """
    if shape.base is not None:
        return load_selector_model(shape.base, dtype=None, vision_tower=shape.vision_tower)
    glus = load_model(labelling_model, dtype=None)
    assert isinstance(glus.vision_tower, CLIPVisionModel)
    assert isinstance(glus.mm_projector, torch.nn.Linear)
    assert isinstance(glus.language_model, LlamaForCausalLM)
    add_score_token(glus.language_model, glus.tokenizer)
    return SelectorModel(
        vision_tower=glus.vision_tower,
        mm_projector=glus.mm_projector,
        language_model=glus.language_model,
        tokenizer=glus.tokenizer,
        image_processor=glus.transform.clip_processor,
        clusters=shape.clusters,
        neighbours=shape.neighbours,
        score_head=build_score_head(glus.language_model.config.hidden_size, shape.head_size),
    )
