"""Which states [SEG] embeddings and the next token are read from, and what does not fit."""

import pytest
import torch
from transformers import LlamaForCausalLM

from glus.errors import InputError
from glus.model.clip import patch_features
from glus.model.conversations import pack_conversations
from glus.processing.tokenizer import IMAGE_ID
from glus.processing.tokens import place_visual_tokens

ROWS = [[1, 9, 7, 12, 4], [1, 3, 5, 4]]


@pytest.fixture
def no_images(model):
    return torch.zeros(0, model.language_model.config.hidden_size)


@pytest.fixture
def conversations():
    return pack_conversations(ROWS, [0, 0], 0, [[4], [3]])


@torch.inference_mode()
def test_the_layer_of_the_prompt_is_a_choice_and_that_of_the_next_token_is_not(model, conversations, no_images):
    llama: LlamaForCausalLM = model.language_model
    theirs = [llama(torch.tensor([row]), output_hidden_states=True) for row in ROWS]
    last = model.mllm(conversations, no_images)
    model.mllm.seg_layer = "penultimate"
    penultimate = model.mllm(conversations, no_images)
    assert torch.equal(last.seg, last.last)
    for layer, found in ((-1, last), (-2, penultimate)):
        torch.testing.assert_close(found.seg, torch.cat([each.hidden_states[layer][:, -1] for each in theirs]))
    assert not torch.allclose(penultimate.seg, last.seg, atol=1e-2)
    for states in (last, penultimate):
        torch.testing.assert_close(model.seg_logits(states.last), torch.cat([each.logits[:, -1] for each in theirs]))


def test_a_prompt_that_does_not_fit_names_both_lengths(model, conversations, no_images):
    model.language_model.config.max_position_embeddings = 4
    with pytest.raises(InputError, match=r"conversation of 5 positions does not fit the language model's window of 4"):
        model.mllm(conversations, no_images)


@torch.inference_mode()
def test_the_tower_is_read_before_its_last_layer(model):
    pixels = torch.randn(2, 3, 64, 64)
    theirs = model.vision_tower(pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
    assert torch.equal(patch_features(model.vision_tower, pixels), theirs)


@pytest.mark.parametrize("surplus", [-1, 1, 2])
def test_visual_tokens_and_their_places_are_counted_by_row(surplus):
    ids = torch.tensor([[1, IMAGE_ID, IMAGE_ID, 4], [1, IMAGE_ID, IMAGE_ID, 4]])
    with pytest.raises(InputError, match=rf"row 0 of 2: {2 + surplus} visual tokens for 2 places"):
        place_visual_tokens(torch.zeros(2, 4, 8), ids, torch.zeros(2, 2 + surplus, 8))
    with pytest.raises(InputError, match=rf"all rows together: {4 + surplus} visual tokens for 4 places"):
        place_visual_tokens(torch.zeros(2, 4, 8), ids, torch.zeros(4 + surplus, 8))


def test_rows_that_only_add_up_are_refused():
    ids = torch.tensor([[1, IMAGE_ID, 4, 4], [1, IMAGE_ID, IMAGE_ID, IMAGE_ID]])
    tokens = torch.zeros(2, 2, 8)
    with pytest.raises(InputError, match=r"row 0 of 2: 2 visual tokens for 1 places"):
        place_visual_tokens(torch.zeros(2, 4, 8), ids, tokens)
    with pytest.raises(InputError, match=r"visual tokens for 3 conversations, but there are 2"):
        place_visual_tokens(torch.zeros(2, 4, 8), ids, tokens[[0, 0, 1]])


@torch.inference_mode()
def test_visual_tokens_stand_where_the_images_are(model):
    tokens = torch.randn(2, model.language_model.config.hidden_size)
    words = model.language_model.get_input_embeddings()(torch.tensor([1, 4]))
    theirs = model.language_model.model(inputs_embeds=torch.stack([words[0], *tokens, words[1]])[None])
    conversations = pack_conversations([[1, IMAGE_ID, IMAGE_ID, 4]], [0], 2, [[0, 1, 2, 3]])
    torch.testing.assert_close(model.mllm(conversations, tokens).last, theirs.last_hidden_state[0])
