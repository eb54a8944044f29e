"""What a visitor asks: sentences, how many and how long, and what was found of each."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import numpy as np

from glus.errors import InputError
from glus.processing.sentences import require_sentences
from glus.segmenting.rows import FoundMask

LONGEST = 1000  # characters of a sentence: what the model reads grows with them


@dataclass(eq=False)
class AskedSentence:
    """One sentence and what was found.

    Attributes:
        text: the sentence.
        key_frame: where it starts, both ways; None: not chosen yet.
        scores: of the selector, float32 [T]; None: there is no selector, or it was not asked yet.
        found: by place of the frame.
    """

    text: str
    key_frame: int | None = None
    scores: np.ndarray | None = None
    found: dict[int, FoundMask] = field(default_factory=dict)


def typed_sentences(texts: Iterable[str], most: int, marks: Collection[str]) -> list[str]:
    """What was typed as sentences, each once, without blanks around them; empty texts are left out.

    Args:
        most: how many there may be.
        marks: control marks of the model's tokenizer.

    Raises:
        InputError: no sentence, too many or too long ones, or one that cannot be asked.
    """
    wanted = list(dict.fromkeys(filter(None, (text.strip() for text in texts))))
    if not wanted:
        raise InputError("Type what to segment: a sentence a line, such as: the dog that jumps.")
    if len(wanted) > most:
        raise InputError(
            f"{len(wanted)} sentences are asked at once, and this page takes {most}; remove some, or start `glus app`"
            " with a higher --max-sentences."
        )
    if (longest := max(map(len, wanted))) > LONGEST:
        raise InputError(f"A sentence has {longest} characters, and this page takes {LONGEST}; say it in fewer words.")
    require_sentences(wanted, marks)
    return wanted
