"""The conversation of the key-frame selector, as the published code words it.

All images come before the expression: the text up to and including `Target Image: ` is common to every expression
and every query frame with the same context, so a prompt is kept in two parts around the target image.
"""

from __future__ import annotations

from dataclasses import dataclass

from glus.processing.conversation import SYSTEM
from glus.processing.sentences import IMAGE, SCORE
from glus.processing.tokenizer import LlamaSentencePiece

REQUESTS = (
    "Does the Target Image provide enough information for localizing and segmenting the {} in the Reference Video?"
    " Please respond with a confidence score.",
    "Does the Target Image provide enough information for localizing and segmenting the {} in the Reference Video?"
    " Please output confidence score.",
)
REQUEST_FOR_QUESTION = (  # for an expression that ends in a question mark
    "Please decide whether the Target Image provide enough information for localizing and segmenting the {}"
    " in the Reference Video."
)
ANSWERS = (f"It is {SCORE}.", f"Sure, {SCORE}.", f"Sure, it is {SCORE}.", f"Sure, the prediction result is {SCORE}.")


def context_text(num_context_frames: int) -> str:
    """Everything before the target image: one `<image>` for each context frame."""
    frames = ", ".join(f"({number}){IMAGE}" for number in range(num_context_frames))
    return f"{SYSTEM} USER: Reference Video: {frames} \nTarget Image: "


def request_text(expression: str, request: int = 0) -> str:
    """Everything between the target image and the answer."""
    form = REQUEST_FOR_QUESTION if expression.endswith("?") else REQUESTS[request]
    return f" \n{form.format(expression)} ASSISTANT:"


def encode_context(tokenizer: LlamaSentencePiece, num_context_frames: int) -> list[int]:
    """Ids of `context_text` with `<s>` in front and -200 for each context frame."""
    return tokenizer.encode_with_images(context_text(num_context_frames))


@dataclass(frozen=True)
class Tail:
    """What follows the target image: the request with the expression, and the answer.

    Attributes:
        ids: request, answer, `</s>`.
        answer_start: number of ids that are not supervised (up to and including `ASSISTANT:`).
        score_position: the id whose state is the score's, one before `[SCORE]`.
    """

    ids: tuple[int, ...]
    answer_start: int
    score_position: int

    def until_score(self) -> Tail:
        """The tail without what no score depends on: `[SCORE]` itself and everything after it."""
        end = self.score_position + 1
        return Tail(self.ids[:end], min(self.answer_start, end), self.score_position)


def encode_tail(tokenizer: LlamaSentencePiece, expression: str, request: int = 0, answer: int = 0) -> Tail:
    """Tokenises request and answer in one piece, as the chunk after an image is.

    Args:
        tokenizer: knows `[SCORE]`.
        expression: see `taught_to_selector` and `asked_of_selector` in `glus.processing.sentences`.
        request: index into `REQUESTS`; evaluation uses the first.
        answer: index into `ANSWERS`; evaluation uses the first.
    """
    request_only = request_text(expression, request)
    ids = tokenizer.encode(f"{request_only} {ANSWERS[answer]}</s>", bos=False)
    answer_start = len(tokenizer.encode(request_only, bos=False))
    score = ids.index(tokenizer.token_id(SCORE), answer_start)
    return Tail(tuple(ids), answer_start, score - 1)


def selector_texts() -> list[str]:
    """Every fixed text of the conversation, for training a tokenizer (half the tokens of a request)."""
    requests = (*REQUESTS, REQUEST_FOR_QUESTION)
    fixed = [part.strip() for text in requests for part in text.split("{}")]
    return [*fixed, "Reference Video: (0)", "Target Image:", *(answer.removesuffix(f"{SCORE}.") for answer in ANSWERS)]
