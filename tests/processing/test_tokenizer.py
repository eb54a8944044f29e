"""The tokenizer's own rules, on a vocabulary trained here."""

import pytest

from glus.errors import InputError
from glus.processing.conversation import (
    conversation_texts,
    inference_prompt,
    training_prompt,
)
from glus.processing.sentences import SEG
from glus.processing.tokenizer import IMAGE_ID, LlamaSentencePiece, train_tokenizer


def test_training_is_deterministic():
    texts = [*conversation_texts(), "the red circle"]
    assert train_tokenizer(texts, 400).encode("a red") == train_tokenizer(texts[::-1], 400).encode("a red")


def test_unknown_characters_survive_as_bytes(tokenizer):
    assert tokenizer.unk_id not in tokenizer.encode("名前 ü")


def test_added_tokens_swallow_white_space(tokenizer):
    assert tokenizer.encode("result is [SEG].") == tokenizer.encode("result is   [SEG]\n.")
    assert tokenizer.encode("a <im_start>\n") == tokenizer.encode("a<im_start>")


def test_added_tokens_keep_their_id(tokenizer):
    before = dict(tokenizer.added_tokens)
    tokenizer.add_tokens([SEG])
    assert tokenizer.added_tokens == before


def test_a_missing_token_is_an_error(tokenizer):
    with pytest.raises(InputError, match=r"no token \[NONE\]"):
        tokenizer.token_id("[NONE]")


def test_round_trip(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    text = "Sure, the segmentation result is [SEG]."
    assert LlamaSentencePiece.from_pretrained(tmp_path).encode(text) == tokenizer.encode(text)


def test_inference_prompts_are_a_beginning_of_training_ones(tokenizer):
    """Without the trailing space [SEG] follows the very ids that it follows in training."""
    whole = tokenizer.encode_with_images(training_prompt("red circle", 4, [0] * 3, [3] * 3))
    for window in (1, 2, 3):
        start = tokenizer.encode_with_images(inference_prompt("red circle", 4, window, trailing_space=False))
        assert whole[: len(start)] == start and whole[len(start)] == tokenizer.token_id(SEG)


def test_images_of_a_prompt(tokenizer):
    assert tokenizer.encode_with_images(training_prompt("x", 4, [0] * 4, [0] * 4)).count(IMAGE_ID) == 8
