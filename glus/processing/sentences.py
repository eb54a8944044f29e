"""The rules of a sentence: what may stand in one, and how each model's published code words it.

Tables keep a sentence as its owners publish it. A model's rule is applied where its prompt is built, and never to text
with control marks: user text and marks share one string there, and a mark would move every image behind it.
The four rules are facts of published code (references on GLUS, 3.1, and on the selector, 3); weights depend on the very
characters, on different ones in training and in use.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from reprlib import repr as shown
from unicodedata import category

from glus.errors import InputError

IMAGE, IM_START, IM_END, SEG, SCORE = "<image>", "<im_start>", "<im_end>", "[SEG]", "[SCORE]"
SPECIAL = ("<s>", "</s>", "<unk>")
MARKS = (IMAGE, IM_START, IM_END, SEG, SCORE, *SPECIAL)


def asked_of_glus(sentence: str) -> str:
    """Inference of GLUS: without one full stop at the very end, in lower case; blanks stay."""
    return sentence.removesuffix(".").lower()


def taught_to_glus(sentence: str) -> str:
    """Training of GLUS: the same, then blanks are cut off the ends; a full stop before a blank stays."""
    return asked_of_glus(sentence).strip()


def asked_of_selector(sentence: str) -> str:
    """Evaluation of the selector: lower case, single blanks."""
    return " ".join(sentence.lower().split())


def taught_to_selector(sentence: str) -> str:
    """Training of the selector: blanks are cut off the ends; case and full stop stay."""
    return sentence.strip()


def sentence_fault(sentence: object, marks: Collection[str] = MARKS) -> tuple[str, str] | None:
    """What is wrong with a sentence, and what to do; None where nothing is.

    Marks are looked for in any case: two of the rules write lower case.

    Args:
        sentence: whatever stands in its place.
        marks: texts that the tokenizer reads as control marks; what it adds may be given beside `MARKS`.

    Returns:
        The problem, to be read after "expression 3", and the remedy.
    """
    if not isinstance(sentence, str):
        found = f"is a {type(sentence).__name__} ({shown(sentence)}), expected a text"
        return "has no text" if sentence is None else found, "Write it or remove it"
    if not sentence.replace(".", " ").strip():
        return f"is empty ({shown(sentence)})", "Write it or remove it"
    if not any(category(letter)[0] in "LNS" for letter in sentence):  # letters, numbers, signs such as emoji
        return f"holds no word ({shown(sentence)})", "Write it or remove it"
    if any(letter == "\0" or 0xD800 <= ord(letter) < 0xE000 for letter in sentence):
        return f"holds a zero byte or half a character ({shown(sentence)})", "Write it as UTF-8 text"
    if held := [mark for mark in dict.fromkeys((*MARKS, *marks)) if mark.lower() in sentence.lower()]:
        problem = f"holds {', '.join(held)} ({shown(sentence)}), a control mark of the models' prompts"
        return problem, "Say it in other words"
    return None


def require_sentences(sentences: Sequence[str], marks: Collection[str] = MARKS) -> None:
    """Checks sentences before a model reads them.

    Raises:
        InputError: one string instead of a list, no sentence at all, or one with a fault; names it.
    """
    if isinstance(sentences, str):
        raise InputError("expressions: a list of sentences is expected, found one string.")
    if not sentences:
        raise InputError("expressions: at least one sentence is needed.")
    for number, sentence in enumerate(sentences):
        if fault := sentence_fault(sentence, marks):
            problem, remedy = fault
            raise InputError(f"expression {number} {problem}. {remedy}.")
