"""The last layer of a language model for tokens whose states are asked for: all are read, no others are computed."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor
from transformers.cache_utils import Cache
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaModel, rotate_half

Rotation = tuple[Tensor, ...]  # cosine and sine of positions, float [n or 1, length, width] each


def last_layer(
    model: LlamaModel,
    hidden: Tensor,
    rotation: Rotation,
    chosen: Tensor,
    of_chosen: Rotation,
    cache: Cache | None = None,
    **attention: Any,
) -> Tensor:
    """States of chosen tokens after the last layer, before the final norm, float [n, K, D].

    The layer is called as a whole, so that what is attached to it (sharding, adapters) takes part.

    Args:
        hidden: float [n, L, D], what the layer before says of every token.
        rotation: of these tokens.
        chosen: float [n, K, D], those of the tokens that are asked.
        of_chosen: their rotation.
        cache: holds what stands before the tokens.
        attention: options of the layer's attention.
    """
    layer = cast(LlamaDecoderLayer, model.layers[-1])
    read = _EveryToken(layer, hidden, rotation, cache)
    return layer(chosen, position_embeddings=of_chosen, past_key_values=read, **attention)


def keys_and_values(layer: LlamaDecoderLayer, hidden: Tensor, rotation: Rotation) -> tuple[Tensor, Tensor]:
    """What a layer reads of tokens, [n, heads, L, width] twice."""
    attention, normed = layer.self_attn, layer.input_layernorm(hidden)
    keys, values = (
        project(normed).unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)
        for project in (attention.k_proj, attention.v_proj)
    )
    cos, sin = rotation
    return keys * cos.unsqueeze(1) + rotate_half(keys) * sin.unsqueeze(1), values


class _EveryToken:
    """In the place of a layer's cache: gives keys and values of all tokens where those of the chosen ones come in."""

    def __init__(self, layer: LlamaDecoderLayer, hidden: Tensor, rotation: Rotation, cache: Cache | None) -> None:
        self._layer, self._hidden, self._rotation, self._cache = layer, hidden, rotation, cache

    def update(self, _keys: Tensor, _values: Tensor, layer_index: int, *_: Any) -> tuple[Tensor, Tensor]:
        keys, values = keys_and_values(self._layer, self._hidden, self._rotation)
        return (keys, values) if self._cache is None else self._cache.update(keys, values, layer_index)
