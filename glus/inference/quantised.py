"""The language model's layers in 8 or 4 bits, by the optional library bitsandbytes, for GPUs with little memory."""

from __future__ import annotations

import importlib
import logging
from types import ModuleType
from typing import Literal

import torch
from torch import nn

from glus.errors import GlusError
from glus.model.glus import GlusModel

Bits = Literal[8, 4]


def bitsandbytes() -> ModuleType:
    """The library.

    Raises:
        GlusError: it is not installed, or cannot be used here.
    """
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it warns of a cast at every product
    try:
        return importlib.import_module("bitsandbytes")
    except (ImportError, RuntimeError) as error:
        raise GlusError(
            f"int8 and int4 need the library bitsandbytes, which cannot be loaded ({error}). Install it beside GLUS,"
            " `pip install bitsandbytes`, or take the precision bfloat16."
        ) from error


def quantise(model: GlusModel, bits: Bits, device: str | torch.device) -> None:
    """Replaces the linear layers of LLaMA, one after the other, each on its way to the device.

    Embeddings, LM head, CLIP, its projector and the mask branch stay as they are, where they are.

    Args:
        model: in evaluation mode, without LoRA; 16 bits on the CPU cost the device least memory.
        bits: 8 (LLM.int8, vector by vector) or 4 (NF4, in blocks of 64).
        device: where the layers go.

    Raises:
        GlusError: bitsandbytes is not installed.
    """
    library = bitsandbytes()
    layers = model.language_model.model.layers
    for module in layers.modules():
        for name, linear in module.named_children():
            if type(linear) is nn.Linear:
                setattr(module, name, _quantised(library.nn, linear, bits).to(device))


def _quantised(modules: ModuleType, linear: nn.Linear, bits: Bits) -> nn.Module:
    size, bias = (linear.in_features, linear.out_features), linear.bias is not None
    layer: nn.Module
    if bits == 8:
        layer = modules.Linear8bitLt(*size, bias=bias, has_fp16_weights=False)
    else:
        layer = modules.Linear4bit(*size, bias=bias, compute_dtype=linear.weight.dtype, quant_type="nf4")
    layer.load_state_dict(linear.state_dict())
    return layer.eval()
