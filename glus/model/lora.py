"""Low-rank adapters by peft, injected into a language model and merged when it is saved (Table A: rank 8)."""

from __future__ import annotations

import peft
import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn

from glus.config import LoraConfig

ADAPTER_NAME = "default"  # peft's


def add_lora(language_model: nn.Module, config: LoraConfig) -> None:
    """Injects adapters in place; nothing changes until they are trained (B starts at 0). Rank 0 injects none."""
    if config.rank:
        adapters = peft.LoraConfig(
            r=config.rank,
            lora_alpha=config.alpha,
            lora_dropout=config.dropout,
            target_modules=list(config.targets),
            bias="none",
        )
        peft.inject_adapter_in_model(adapters, language_model)


def is_adapted(module: nn.Module) -> bool:
    """Whether adapters are injected."""
    return any(isinstance(layer, LoraLinear) for layer in module.modules())


@torch.no_grad()
def merged_state_dict(module: nn.Module) -> dict[str, Tensor]:
    """The weights of a module as if its adapters were merged and gone; the module itself stays as it is.

    Weights keep their types: a sum is rounded once.
    """
    adapted = {name: layer for name, layer in module.named_modules() if isinstance(layer, LoraLinear)}
    merged = {}
    for name, tensor in module.state_dict().items():
        owner = next((prefix for prefix in adapted if name.startswith(f"{prefix}.")), None)
        if owner is None:
            merged[name] = tensor
        elif ".base_layer." in name:
            weight = name.endswith(".weight")
            delta = adapted[owner].get_delta_weight(ADAPTER_NAME) if weight else 0
            merged[name.replace(".base_layer.", ".")] = (tensor + delta).to(tensor.dtype)
    return merged


@torch.no_grad()
def merge_lora(module: nn.Module) -> None:
    """Merges adapters into the weights of a module and takes them out; rounds as `merged_state_dict`."""
    adapted = [(name, layer) for name, layer in module.named_modules() if isinstance(layer, LoraLinear)]
    for name, layer in adapted:
        plain = layer.get_base_layer()
        weight = plain.get_parameter("weight")
        merged = (weight + layer.get_delta_weight(ADAPTER_NAME)).to(weight.dtype)
        plain.load_state_dict({"weight": merged}, strict=False, assign=True)
        module.set_submodule(name, plain)
    del module.peft_config
