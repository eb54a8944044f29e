"""A language model reads what several sequences have in common once: a trunk, branches behind it, twigs behind those.

Sharing is exact up to the order of sums. Both models of the project read through it: GLUS a video's context, a window's
first query image and the sentences behind it, the selector a context, its query frames and their sentences.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer
from transformers.masking_utils import create_causal_mask
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaModel

from glus.model.last_layer import keys_and_values, last_layer


class SharedLayer(DynamicLayer):
    """Keys and values of one layer for continuations of what another one holds.

    What is continued is kept once. Its copies, one for each continuation, live only while their layer is computed.

    Args:
        trunk: what is continued, each of its rows by as many rows one after the other; None for a beginning.
        keep: whether something may continue this one; false: nothing is kept of it.
    """

    def __init__(self, trunk: SharedLayer | None = None, *, keep: bool = True) -> None:
        super().__init__()
        self._trunk = trunk
        self._keep = keep

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Takes new keys and values [rows, heads, length, width]; returns all of them, the trunk's in front."""
        if self._keep:
            super().update(key_states, value_states, *args, **kwargs)
            assert self.keys is not None and self.values is not None
            key_states, value_states = self.keys, self.values
        if self._trunk is None:
            return key_states, value_states
        keys, values = self._trunk._whole()
        return _append(keys, key_states), _append(values, value_states)

    def get_seq_length(self) -> int:
        """Tokens along one branch."""
        own = super().get_seq_length()
        return own if self._trunk is None else self._trunk.get_seq_length() + own

    def _whole(self) -> tuple[Tensor, Tensor]:
        assert self.keys is not None and self.values is not None
        if self._trunk is None:
            return self.keys, self.values
        keys, values = self._trunk._whole()
        return _append(keys, self.keys), _append(values, self.values)


def _append(trunk: Tensor, own: Tensor) -> Tensor:
    """Rows [n, heads, length, width] in front of their continuations, [n * times, heads, ...]; copied once."""
    continued = own.unflatten(0, (len(trunk), -1))
    copies = trunk[:, None].expand(-1, continued.shape[1], -1, -1, -1)
    return torch.cat([copies, continued], dim=-2).flatten(0, 1)


class SharedCache(Cache):
    """What a language model keeps of tokens that several continuations share."""

    def __init__(self, layers: list[SharedLayer]) -> None:
        super().__init__(layers=[*layers])
        self._shared = layers

    @classmethod
    def empty(cls, num_layers: int) -> SharedCache:
        """For a beginning."""
        return cls([SharedLayer() for _ in range(num_layers)])

    def continued(self, *, keep: bool = True) -> SharedCache:
        """For continuations of this one, which stays as it is: each of its rows by as many, one after the other.

        Args:
            keep: false where nothing continues the continuations: none of their keys and values is kept.
        """
        return SharedCache([SharedLayer(layer, keep=keep) for layer in self._shared])


def read_shared(model: LlamaModel, embeddings: Tensor, cache: SharedCache) -> None:
    """Reads what others continue, float [n, L, D]: the cache grows by it. The last layer computes no states."""
    before_last, rotation = _all_but_the_last(model, embeddings, cache)
    cache.update(*keys_and_values(cast(LlamaDecoderLayer, model.layers[-1]), before_last, rotation), -1)


def read_states(model: LlamaModel, embeddings: Tensor, positions: Tensor, cache: SharedCache) -> tuple[Tensor, Tensor]:
    """Reads endings and computes the states of some of their tokens; the last layer computes those and no others.

    Args:
        embeddings: float [n, L, D], padded on the right.
        positions: int [n, K], tokens of each row whose states are wanted.
        cache: what stands before them, see `SharedCache.continued`.

    Returns:
        float [n, K, D] twice: after the last layer and the final norm, and after the layer before.
    """
    before = cache.get_seq_length()
    hidden, rotation = _all_but_the_last(model, embeddings, cache)
    row = torch.arange(len(hidden), device=positions.device).unsqueeze(1)
    chosen, of_chosen = hidden[row, positions], tuple(part[0, positions] for part in rotation)
    visible = torch.arange(before + hidden.shape[1], device=positions.device) <= before + positions.unsqueeze(-1)
    states = last_layer(model, hidden, rotation, chosen, of_chosen, cache, attention_mask=visible.unsqueeze(1))
    return model.norm(states), chosen


def _all_but_the_last(
    model: LlamaModel, embeddings: Tensor, cache: SharedCache
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """States [n, L, D] that the last layer reads, and cosine and sine of the rotation, [1, L, width] each."""
    before, length = cache.get_seq_length(), embeddings.shape[1]
    position_ids = torch.arange(before, before + length, device=embeddings.device).unsqueeze(0)
    mask = create_causal_mask(
        config=model.config,
        inputs_embeds=embeddings,
        attention_mask=None,
        past_key_values=cache,
        position_ids=position_ids,
    )
    rotation = model.rotary_emb(embeddings, position_ids=position_ids)
    hidden = embeddings
    for layer in model.layers[:-1]:
        hidden = layer(
            hidden,
            attention_mask=mask,
            position_ids=position_ids,
            past_key_values=cache,
            use_cache=True,
            position_embeddings=rotation,
        )
    return hidden, rotation
