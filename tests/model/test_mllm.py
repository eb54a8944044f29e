"""Which states [SEG] embeddings and the next token are read from, and what does not fit."""

import pytest
import torch
from transformers import LlamaForCausalLM

from glus.errors import InputError
from glus.processing.tokenizer import IMAGE_ID

IDS = torch.tensor([[1, 9, 7, 12, 4], [1, 3, 5, 4, 0]])
MASK = torch.tensor([[True] * 5, [True] * 4 + [False]])


@pytest.fixture
def no_images(model):
    return torch.zeros(2, 0, model.language_model.config.hidden_size)


@torch.inference_mode()
def test_the_layer_of_the_prompt_is_a_choice_and_that_of_the_next_token_is_not(model, no_images):
    llama: LlamaForCausalLM = model.language_model
    theirs = llama(IDS, attention_mask=MASK.long(), output_hidden_states=True)
    last = model.mllm(IDS, MASK, no_images)
    model.mllm.seg_layer = "penultimate"
    penultimate = model.mllm(IDS, MASK, no_images)
    assert torch.equal(last.seg, last.last)
    torch.testing.assert_close(last.seg[MASK], theirs.hidden_states[-1][MASK])
    torch.testing.assert_close(penultimate.seg[MASK], theirs.hidden_states[-2][MASK])
    assert not torch.allclose(penultimate.seg[MASK], last.seg[MASK], atol=1e-2)
    for states in (last, penultimate):
        torch.testing.assert_close(model.seg_logits(states.last)[MASK], theirs.logits[MASK])


def test_a_prompt_that_does_not_fit_names_both_lengths(model, no_images):
    model.language_model.config.max_position_embeddings = 4
    with pytest.raises(InputError, match=r"conversation of 5 positions does not fit the language model's window of 4"):
        model.mllm(IDS, MASK, no_images)


@pytest.mark.parametrize("surplus", [-1, 1, 2])
def test_visual_tokens_and_their_places_are_counted_by_row(model, surplus):
    width = model.language_model.config.hidden_size
    ids = torch.tensor([[1, IMAGE_ID, IMAGE_ID, 4], [1, IMAGE_ID, IMAGE_ID, 4]])
    mask = torch.ones(2, 4, dtype=torch.bool)
    with pytest.raises(InputError, match=rf"row 0 of 2: {2 + surplus} visual tokens for 2 places"):
        model.mllm(ids, mask, torch.zeros(2, 2 + surplus, width))
    with pytest.raises(InputError, match=rf"all rows together: {4 + surplus} visual tokens for 4 places"):
        model.mllm(ids, mask, torch.zeros(4 + surplus, width))


def test_rows_that_only_add_up_are_refused(model):
    ids = torch.tensor([[1, IMAGE_ID, 4, 4], [1, IMAGE_ID, IMAGE_ID, IMAGE_ID]])
    tokens = torch.zeros(2, 2, model.language_model.config.hidden_size)
    with pytest.raises(InputError, match=r"row 0 of 2: 2 visual tokens for 1 places"):
        model.mllm(ids, torch.ones(2, 4, dtype=torch.bool), tokens)
    with pytest.raises(InputError, match=r"visual tokens for 3 conversations, but there are 2"):
        model.mllm(ids, torch.ones(2, 4, dtype=torch.bool), tokens[[0, 0, 1]])


@torch.inference_mode()
def test_visual_tokens_stand_where_the_images_are(model):
    tokens = torch.randn(1, 2, model.language_model.config.hidden_size)
    ids = torch.tensor([[1, IMAGE_ID, IMAGE_ID, 4]])
    words = model.language_model.get_input_embeddings()(torch.tensor([1, 4]))
    embeddings = torch.stack([words[0], *tokens[0], words[1]]).unsqueeze(0)
    theirs = model.language_model.model(inputs_embeds=embeddings).last_hidden_state
    torch.testing.assert_close(model.mllm(ids, torch.ones(1, 4, dtype=torch.bool), tokens).last, theirs)
