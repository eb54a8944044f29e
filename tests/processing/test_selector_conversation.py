"""Prompt strings and ids against the published code's."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from glus.processing.selector_conversation import (
    ANSWERS,
    REQUESTS,
    context_text,
    encode_context,
    encode_tail,
    request_text,
)
from glus.processing.tokenizer import IMAGE_ID, LlamaSentencePiece


@pytest.fixture(scope="module")
def folder(shared: Path) -> Path:
    path = shared / "goldens/selector"
    if not (path / "cases/B_tokenization.json").is_file():
        pytest.skip(f"no prompts among the goldens: {path}")
    return path


def parts(conversation: str) -> tuple[int, str, int, int]:
    """Number of context frames, expression, request and answer of a published conversation."""
    answer = next(i for i, text in enumerate(ANSWERS) if conversation.endswith(f"ASSISTANT: {text}</s>"))
    request = 1 if "output confidence" in conversation else 0
    found = re.search(r"segmenting the (.*?) in the Reference Video", conversation)
    assert found
    return conversation.count("<image>") - 1, found[1], request, answer


@pytest.mark.parametrize("legacy", [True, False])
def test_texts_and_ids_equal_the_published(folder: Path, legacy: bool) -> None:
    golden = json.loads((folder / "cases/B_tokenization.json").read_text())
    published = LlamaSentencePiece.from_pretrained(folder / "selector")
    tokenizer = LlamaSentencePiece(published._model, published.added_tokens, legacy=legacy)
    for conversation, expected in zip(golden["conversations"], golden[f"legacy_{legacy}"], strict=True):
        num_context, expression, request, answer = parts(conversation)
        text = f"{context_text(num_context)}<image>{request_text(expression, request)} {ANSWERS[answer]}</s>"
        assert text == conversation
        tail = encode_tail(tokenizer, expression, request, answer)
        assert [*encode_context(tokenizer, num_context), IMAGE_ID, *tail.ids] == expected


def test_supervised_tokens_equal_the_published(folder: Path) -> None:
    golden = np.load(folder / "cases/B_noise_off.npz")
    tokenizer = LlamaSentencePiece.from_pretrained(folder / "selector")
    conversations = json.loads((folder / "cases/B_tokenization.json").read_text())["conversations"]
    for conversation, labels in zip(conversations, golden["labels"], strict=True):
        _, expression, request, answer = parts(conversation)
        tail = encode_tail(tokenizer, expression, request, answer)
        assert list(tail.ids[tail.answer_start :]) == labels[labels != -100].tolist()
        assert tail.ids[tail.score_position + 1] == tokenizer.token_id("[SCORE]")


def test_a_question_is_asked_in_its_own_form() -> None:
    assert request_text("which one falls?", 1) == (
        " \nPlease decide whether the Target Image provide enough information for localizing and segmenting the"
        " which one falls? in the Reference Video. ASSISTANT:"
    )
    assert request_text("dog", 1) == f" \n{REQUESTS[1].format('dog')} ASSISTANT:"
