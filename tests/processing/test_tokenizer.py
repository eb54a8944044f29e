"""The tokenizer's own rules, on a vocabulary trained here."""

import json
import shutil

import pytest
from transformers import AutoTokenizer

from glus.errors import InputError
from glus.processing.conversation import (
    conversation_texts,
    inference_prompt,
    training_prompt,
)
from glus.processing.sentences import SEG, SPECIAL
from glus.processing.tokenizer import IMAGE_ID, LlamaSentencePiece, train_tokenizer


def test_training_is_deterministic():
    texts = [*conversation_texts(), "the red circle"]
    assert train_tokenizer(texts, 400).encode("a red") == train_tokenizer(texts[::-1], 400).encode("a red")


def test_a_vocabulary_without_room_for_the_letters_is_refused():
    with pytest.raises(InputError, match=r"model\.language\.vocabulary: 330 pieces .* the 109 letters"):
        train_tokenizer([*map(chr, range(0x4E00, 0x4E00 + 99)), "abcdefghij"], 330)


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


def test_added_tokens_are_read_wherever_they_stand(tokenizer, tmp_path):
    """As transformers 4.31 saves them, 4.34 and later, and 5 with the sentencepiece model put back."""
    text = "Sure, the segmentation result is [SEG]."
    listed = [{"id": number, "content": token, "special": False} for token, number in tokenizer.added_tokens.items()]
    listed += [{"id": number, "content": token, "special": True} for number, token in enumerate(SPECIAL)]
    decoder = {str(item["id"]): {"content": item["content"], "lstrip": False} for item in listed}
    for file, content in (
        ("tokenizer_config.json", {"added_tokens_decoder": decoder, "legacy": None}),
        ("tokenizer_config.json", {"added_tokens_decoder": decoder, "tokenizer_class": "TokenizersBackend"}),
        ("tokenizer.json", {"version": "1.0", "added_tokens": listed}),
    ):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        tokenizer.save_pretrained(folder)
        for name in ("added_tokens.json", "tokenizer_config.json"):
            (folder / name).unlink()
        (folder / file).write_text(json.dumps(content))
        again = LlamaSentencePiece.from_pretrained(folder)
        assert again.added_tokens == tokenizer.added_tokens
        assert again.encode(text) == tokenizer.encode(text)


def test_a_folder_of_todays_transformers_keeps_its_ids(tokenizer, tmp_path):
    """What `save_pretrained` of the installed release writes, with the sentencepiece model and without."""
    tokenizer.save_pretrained(tmp_path / "ours")
    AutoTokenizer.from_pretrained(tmp_path / "ours").save_pretrained(tmp_path / "theirs")
    with pytest.raises(InputError, match=r"transformers 5 saves tokenizer.json alone.*copy the file"):
        LlamaSentencePiece.from_pretrained(tmp_path / "theirs")
    shutil.copy(tmp_path / "ours/tokenizer.model", tmp_path / "theirs")
    again = LlamaSentencePiece.from_pretrained(tmp_path / "theirs")
    text = "the red circle [SEG] . [SEG]the square<im_start>"
    assert again.added_tokens == tokenizer.added_tokens
    assert again.encode(text) == tokenizer.encode(text)


def test_tokenizer_files_that_disagree_are_named(tokenizer, tmp_path):
    with pytest.raises(InputError, match="the sentencepiece model of a LLaMA tokenizer"):
        LlamaSentencePiece.from_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"added_tokens_decoder": {"7": {"content": "[SEG]"}}}')
    with pytest.raises(InputError, match=r"gives \[SEG\] the id 7, .*added_tokens.json gives it"):
        LlamaSentencePiece.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        (
            "tokenizer_config.json",
            '{"added_tokens_decoder": {"ID": {"content": "[OTHER]"}}}',
            r"gives \[OTHER\] the id",
        ),
        ("tokenizer_config.json", '{"legacy": "false"}', "legacy is 'false', expected true or false"),
        ("tokenizer_config.json", '{"legacy": 0}', "legacy is 0, expected true or false"),
        ("tokenizer.model", "", r"tokenizer\.model is empty"),
    ],
)
def test_tokenizer_files_that_cannot_be_meant_are_refused(tokenizer, tmp_path, file, content, said):
    """One id for two texts among them."""
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / file).write_text(content.replace("ID", str(tokenizer.token_id("[SEG]"))))
    with pytest.raises(InputError, match=said):
        LlamaSentencePiece.from_pretrained(tmp_path)
