"""What a sentence may hold, and how each model words it, in training and in use."""

import pytest

from glus import segment_video
from glus.errors import InputError
from glus.processing.sentences import (
    MARKS,
    asked_of_glus,
    asked_of_selector,
    require_sentences,
    sentence_fault,
    taught_to_glus,
    taught_to_selector,
)
from glus.processing.tokenizer import train_tokenizer


@pytest.mark.parametrize(
    ("sentence", "glus_asked", "glus_taught", "selector_asked", "selector_taught"),
    [
        ("The Red circle.", "the red circle", "the red circle", "the red circle.", "The Red circle."),
        ("two stops..", "two stops.", "two stops.", "two stops..", "two stops.."),
        (" x. ", " x. ", "x.", "x.", "x."),
        (" x .", " x ", "x", "x .", "x ."),
        (
            " tab\tand  double  spaces. ",
            " tab\tand  double  spaces. ",
            "tab\tand  double  spaces.",
            "tab and double spaces.",
            "tab\tand  double  spaces.",
        ),
        (
            " The Orange kite  drifting down.",
            " the orange kite  drifting down",
            "the orange kite  drifting down",
            "the orange kite drifting down.",
            "The Orange kite  drifting down.",
        ),
        ("Which one falls? ", "which one falls? ", "which one falls?", "which one falls?", "Which one falls?"),
        ("\nOne line\n", "\none line\n", "one line", "one line", "One line"),
    ],
)
def test_each_model_has_its_rule(
    sentence: str, glus_asked: str, glus_taught: str, selector_asked: str, selector_taught: str
) -> None:
    """The published code's, in inference and in training."""
    assert asked_of_glus(sentence) == glus_asked
    assert taught_to_glus(sentence) == glus_taught
    assert asked_of_selector(sentence) == selector_asked
    assert taught_to_selector(sentence) == selector_taught


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("form", ["the sign with the word {}", "{}", "red{}circle", "dog, {}."])
def test_marks_are_refused_by_name_in_any_case(mark: str, form: str) -> None:
    for sentence in (form.format(mark), form.format(mark.upper()), form.format(mark.lower())):
        fault = sentence_fault(sentence)
        assert fault is not None
        assert mark in fault[0]


@pytest.mark.parametrize(
    "sentence", ["a < b > c", "[seq]", "the image", "<img>", "score 3:2", "</ s>", "名前", "a.", "🐶", "9"]
)
def test_other_text_stays(sentence: str) -> None:
    assert sentence_fault(sentence) is None


@pytest.mark.parametrize(
    ("sentence", "said"),
    [
        (None, "has no text"),
        (3, "is a int (3), expected a text"),
        ("", "is empty ('')"),
        (" \t.\n", "is empty"),
        ("?!,;", "holds no word"),
        ("\u200b", "holds no word"),
        ("a\0b", "a zero byte"),
        ("a\udcffb", "half a character"),
    ],
)
def test_what_is_no_sentence(sentence: object, said: str) -> None:
    fault = sentence_fault(sentence)
    assert fault is not None
    assert said in fault[0]


def test_a_list_of_sentences_is_needed() -> None:
    with pytest.raises(InputError, match="a list of sentences is expected, found one string"):
        require_sentences("the dog")
    with pytest.raises(InputError, match="at least one sentence"):
        require_sentences([])
    with pytest.raises(InputError, match="expression 1 is empty"):
        require_sentences(["the dog", " "])


def test_what_a_tokenizer_adds_is_a_mark_too() -> None:
    tokenizer = train_tokenizer(["the red circle", "a dog"], 300)
    tokenizer.add_tokens(["<video>"])
    require_sentences(["the <video> sign"])
    with pytest.raises(InputError, match=r"expression 0 holds <video> .*Say it in other words"):
        require_sentences(["the <video> sign"], tokenizer.marks)


def test_the_public_call_refuses_marks(model, frames) -> None:
    model.tokenizer.add_tokens(["<depth>"])
    for mark in ("<image>", "[SEG]", "<DEPTH>"):
        with pytest.raises(InputError, match=r"expression 1 holds"):
            segment_video(model, frames[:2], ["the dog", f"the {mark} sign"])
