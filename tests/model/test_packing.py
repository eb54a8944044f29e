"""Packed rows: every token has the state, and every weight the gradient, that whole sequences give."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glus.errors import InputError
from glus.model.conversations import pack_conversations
from glus.model.lora import add_lora
from glus.model.packing import lay_out, read_packed
from glus.processing.beginnings import share_beginnings
from glus.processing.tokenizer import IMAGE_ID
from glus.processing.tokens import place_visual_tokens

SEQUENCES = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=25), min_size=1, max_size=6)


@given(SEQUENCES)
def test_a_forest_holds_every_sequence_and_each_stretch_behind_what_it_continues(sequences):
    forest = share_beginnings(sequences)
    assert [[forest.tokens[place] for place in path] for path in forest.paths] == sequences
    assert sum(forest.lengths) == len(forest.tokens) and min(forest.lengths) > 0
    assert all(parent is None or parent < number for number, parent in enumerate(forest.parents))


def test_what_is_common_stands_once():
    common, second = [*range(10)], [*range(20, 30)]
    forest = share_beginnings([[*common, *second, 1], [*common, *second, 2], [*common, 3], [*common, 3]])
    assert forest.tokens == [*common, *second, 1, 2, 3]
    assert (forest.lengths, forest.parents) == ([10, 10, 1, 1, 1], [None, 0, 1, 1, 0])


def test_a_few_common_tokens_are_not_worth_a_stretch_of_their_own():
    assert share_beginnings([[1, 2, 3], [1, 2, 4]]).tokens == [1, 2, 3, 1, 2, 4]


def test_a_layout_by_hand():
    """A trunk of 2, two branches of 2 and 1; the end of each is asked, the second first."""
    layout = lay_out([2, 2, 1], [None, 0, 0], [4, 3])
    assert layout.positions.tolist() == [0, 1, 2, 3, 2]
    trunk, branches = layout.every.parts
    assert trunk.visible[0, 0].tolist() == [[True, False], [True, True]]
    assert branches.asking.tolist() == [[2, 3], [4, 4]] and branches.read.tolist() == [[0, 1, 2, 3], [0, 1, 4, 4]]
    assert branches.visible[:, 0, 0].tolist() == [[True, True, True, False]] * 2
    assert layout.every.places.tolist() == [0, 1, 2, 3, 4]
    [last] = layout.last.parts
    assert last.asking.tolist() == [[1], [0]] and layout.last.places.tolist() == [1, 0]


@pytest.mark.parametrize("seg_layer", ["last", "penultimate"])
def test_states_and_gradients_are_those_of_whole_conversations(model, config, seg_layer):
    """Two clips with three and one conversations, some of equal words, against padded rows in transformers' own way."""
    model.mllm.seg_layer = seg_layer
    add_lora(model.language_model, config.model.lora)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("mllm" in name and "vision_tower" not in name)
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    begin, rows, clip_of = [1, *range(30, 45)], [], [0, 0, 0, 1]
    for words in ([5, 6, 7], [5, 6, 7, 8, 9], [5, 6, 7], [11, 12]):
        rows.append([*begin, *[IMAGE_ID] * 4, 2, *words, 3, *[IMAGE_ID] * 4, *words, 3, 4])
    asked = [[len(row) - 3, row.index(3)] for row in rows]
    tokens = torch.randn(16, model.language_model.config.hidden_size, requires_grad=True)
    conversations = pack_conversations(rows, clip_of, 8, asked)
    found = model.mllm(conversations, tokens).unflatten(4)
    assert len(conversations.sources) < sum(map(len, rows)) - 2 * len(begin)

    ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
    words = model.language_model.get_input_embeddings()(ids.clamp(min=0))
    placed = place_visual_tokens(words, ids, tokens.view(2, 8, -1)[clip_of])
    theirs = model.language_model.model(inputs_embeds=placed, use_cache=False, output_hidden_states=True)
    states = theirs.hidden_states[-2] if seg_layer == "penultimate" else theirs.last_hidden_state
    expected = states[torch.arange(4)[:, None], torch.tensor(asked)]
    torch.testing.assert_close(found.seg, expected, atol=1e-5, rtol=1e-5)

    weights = [tokens, *(parameter for parameter in model.mllm.parameters() if parameter.requires_grad)]
    pull = torch.randn(expected.shape)
    ours, plain = (
        torch.autograd.grad((states * pull).sum(), weights, allow_unused=True) for states in (found.seg, expected)
    )
    for one, other in zip(ours, plain, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, atol=1e-5 * float(other.abs().max()), rtol=0)


def test_of_visual_tokens_is_given_what_the_last_layer_reads_clip_by_clip(model):
    """As in the first conversation about each clip, which is that of a plain language model."""
    rows = [[1, *[IMAGE_ID] * 2, 5, IMAGE_ID, IMAGE_ID, 6], [1, *[IMAGE_ID] * 2, 5, IMAGE_ID, IMAGE_ID, 7, 8]]
    rows += [[9, 1, *[IMAGE_ID] * 2, 5, IMAGE_ID, IMAGE_ID, 6]]
    tokens = torch.randn(8, model.language_model.config.hidden_size)
    found = model.mllm(pack_conversations(rows, [0, 0, 1], 4, [[6], [7], [7]]), tokens).visual
    assert len(found) == 8
    for row, clip in ((0, 0), (2, 1)):
        ids = torch.tensor([rows[row]])
        words = model.language_model.get_input_embeddings()(ids.clamp(min=0))
        placed = place_visual_tokens(words, ids, tokens[4 * clip : 4 * clip + 4][None])
        states = model.language_model.model(inputs_embeds=placed, output_hidden_states=True).hidden_states[-2]
        torch.testing.assert_close(found[4 * clip : 4 * clip + 4], states[ids == IMAGE_ID], atol=1e-5, rtol=1e-5)


def test_stretches_of_any_shape_are_read_alone(model):
    """A forest of two trees; the states of each branch by itself."""
    llama = model.language_model.model
    lengths, parents = [4, 3, 1, 2, 5], [None, 0, 0, 1, None]
    branches = {3: [0, 1, 3], 2: [0, 2], 4: [4]}
    starts = torch.tensor([0, *lengths]).cumsum(0).tolist()
    embeddings = torch.randn(sum(lengths), model.language_model.config.hidden_size)
    asked = [*range(sum(lengths))]
    found, _ = read_packed(llama, embeddings, lay_out(lengths, parents, asked))
    for end, stretches in branches.items():
        place = torch.cat([torch.arange(starts[number], starts[number + 1]) for number in stretches])
        alone = llama(inputs_embeds=embeddings[place][None]).last_hidden_state[0]
        torch.testing.assert_close(found[place], alone, atol=1e-5, rtol=1e-5)
        assert end == stretches[-1]


def test_conversations_and_their_clips_have_to_fit_together():
    with pytest.raises(InputError, match=r"row 1 of 2: 2 visual tokens for 1 places"):
        pack_conversations([[1, IMAGE_ID, IMAGE_ID, 4], [1, IMAGE_ID, 4]], [0, 0], 2, [[3], [2]])
