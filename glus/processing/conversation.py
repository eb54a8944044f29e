"""The conversation of GLUS: one question and one [SEG] answer per query frame (reference on GLUS, section 3).

The strings are facts that released weights depend on, spelling included.
"""

from __future__ import annotations

from collections.abc import Sequence

from glus.processing.sentences import IM_END, IM_START, IMAGE, SEG

SYSTEM = (
    "A chat between a curious human and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the human's questions."
)
CONTEXT = "\nPlease finished the following tasks on the context frames above.\n"
QUESTIONS = (
    "\nCan you segment the {} in this frame?",
    "\nPlease segment the {} in this frame.",
    "\nWhat is {} in this frame? Please respond with segmentation mask.",
    "\nWhat is {} in this frame? Please output segmentation mask.",
)
ANSWERS = (
    f"It is {SEG}.",
    f"Sure, {SEG}.",
    f"Sure, it is {SEG}.",
    f"Sure, the segmentation result is {SEG}.",
    f"{SEG}.",
)
INFERENCE_QUESTION, INFERENCE_ANSWER = 0, 3
_FRAME = f"{IM_START}{IMAGE}{IM_END}"


def training_prompt(expression: str, num_context_frames: int, questions: Sequence[int], answers: Sequence[int]) -> str:
    """A whole conversation, one turn per query frame.

    Args:
        expression: see `glus.processing.sentences.taught_to_glus`.
        num_context_frames: 0 leaves the context block out.
        questions: index into `QUESTIONS` for each query frame.
        answers: index into `ANSWERS` for each query frame.
    """
    turns = [
        _turn(expression, question, ANSWERS[answer]) + "</s>"
        for question, answer in zip(questions, answers, strict=True)
    ]
    return _with_context("".join(turns), num_context_frames)


def inference_prompt(expression: str, num_context_frames: int, window: int, *, trailing_space: bool) -> str:
    """The prompt whose next token is the [SEG] of the newest of `window` query frames.

    The expression: see `glus.processing.sentences.asked_of_glus`.

    Earlier turns stand as if answered: the language model never sees its own failures. With `trailing_space` the
    prompt ends in a blank piece, as released weights expect; without it [SEG] follows the word, as in training.
    """
    answer = ANSWERS[INFERENCE_ANSWER]
    past = (_turn(expression, INFERENCE_QUESTION, answer) + "</s>") * (window - 1)
    start = answer[: answer.index(SEG)]
    newest = _turn(expression, INFERENCE_QUESTION, start if trailing_space else start.rstrip())
    return _with_context(past + newest, num_context_frames)


def _turn(expression: str, question: int, answer: str) -> str:
    return f"USER: {_FRAME}{QUESTIONS[question].format(expression)} ASSISTANT: {answer}"


def _with_context(turns: str, num_context_frames: int) -> str:
    context = _FRAME * num_context_frames + CONTEXT if num_context_frames else ""
    return f"{SYSTEM} USER: {context}" + turns.removeprefix("USER: ")


def conversation_texts() -> list[str]:
    """Every fixed text of the conversation, for training a tokenizer."""
    fixed = (text.replace(SEG, "") for text in (*QUESTIONS, *ANSWERS, CONTEXT, SYSTEM, "USER: ", "ASSISTANT: "))
    return [text.format("").strip() for text in fixed]
