"""Activation checkpointing changes no bit, keeps less, and never drops or fills a cache that a layer is given."""

import pytest
import torch

from glus.model.checkpointing import checkpoint_activations
from glus.model.clip import patch_features
from glus.model.conversations import pack_conversations
from glus.model.lora import add_lora
from glus.model.sharing import SharedCache

ROWS = [[1, *range(30, 45), *words, 4] for words in ([5, 6], [7, 8, 9])]


def gradients(model):
    """Of all weights that a pass through the three deep stacks reaches, and what the graph of the pass holds."""
    held = []
    torch.manual_seed(3)  # of dropout
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: held.append(tensor.numel()) or tensor, lambda it: it):
        states = model.mllm(pack_conversations(ROWS, [0, 0], 0, [[17], [18]]), torch.zeros(0, 128)).last
        patches = patch_features(model.vision_tower, torch.ones(2, 3, 64, 64))
        features = model.masks.encode(torch.ones(1, 3, model.masks.image_size, model.masks.image_size)).stride16
    (states.sum() + patches.sum() + features.sum()).backward()
    return {name: value.grad for name, value in model.named_parameters() if value.grad is not None}, sum(held)


def test_gradients_are_equal_bit_by_bit_and_less_is_held(model, config):
    add_lora(model.language_model, config.model.lora.model_copy(update={"dropout": 0.3}))
    model.train().requires_grad_(True)
    expected, held = gradients(model)
    model.zero_grad(set_to_none=True)
    checkpoint_activations(model.deep_layers)
    found, held_now = gradients(model)
    assert found.keys() == expected.keys() and len(found) > 50
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert held_now < held / 2


@pytest.mark.parametrize("grad", [False, True])
def test_a_given_cache_is_filled_once_and_read(model, grad):
    tokens = torch.randn(1, 5, model.language_model.config.hidden_size)
    llama = model.language_model.model.train()
    whole = llama(inputs_embeds=tokens).last_hidden_state[:, 3:]
    checkpoint_activations(model.deep_layers)
    cache = SharedCache.empty(len(llama.layers))
    with torch.set_grad_enabled(grad):
        llama(inputs_embeds=tokens[:, :3], past_key_values=cache, use_cache=True)
        rest = llama(inputs_embeds=tokens[:, 3:], past_key_values=cache.continued(), use_cache=True).last_hidden_state
        if grad:
            rest.sum().backward()
    assert cache.get_seq_length() == 3
    torch.testing.assert_close(rest, whole, atol=1e-5, rtol=0)
