"""The slow LLaMA tokenizer of the published checkpoints, on raw sentencepiece.

Today's tokenizer classes split differently around added tokens, and released weights depend on the very ids
(reference on GLUS, section 3.2), so the rules stand here: added tokens swallow the white space on both sides, and
the text after any special token is encoded on its own with a fresh dummy prefix.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import sentencepiece

from glus.errors import InputError
from glus.files import read_json
from glus.processing.sentences import IMAGE, SPECIAL

IMAGE_ID = -200  # stands for one image in a list of ids
_UNDERLINE = "▁"


class LlamaSentencePiece:
    """Sentencepiece model plus added tokens, as `LlamaTokenizer` of transformers 4.31 encodes.

    Args:
        model: serialized sentencepiece model.
        added_tokens: text -> id of tokens beyond the sentencepiece vocabulary.
        legacy: the published setting; false keeps the piece after an added token without a dummy prefix.
    """

    def __init__(self, model: bytes, added_tokens: dict[str, int] | None = None, *, legacy: bool = True) -> None:
        self._model = model
        self._pieces = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.added_tokens = dict(added_tokens or {})
        self.legacy = legacy
        self.unk_id, self.bos_id = (self._pieces.piece_to_id(name) for name in ("<unk>", "<s>"))
        self.pad_id = self.unk_id
        self._split_pattern = self._build_split_pattern()

    def _build_split_pattern(self) -> re.Pattern[str]:
        swallowing = "|".join(re.escape(token) for token in self.added_tokens)
        swallowing = rf"\s*(?:{swallowing})\s*|" if swallowing else ""
        return re.compile(rf"({swallowing}{'|'.join(SPECIAL)})")

    def __len__(self) -> int:
        return max([self._pieces.get_piece_size() - 1, *self.added_tokens.values()]) + 1

    def add_tokens(self, tokens: Iterable[str]) -> None:
        """Appends tokens behind the vocabulary; one that is already there keeps its id."""
        for token in tokens:
            if token not in self.added_tokens:
                self.added_tokens[token] = len(self)
        self._split_pattern = self._build_split_pattern()

    @property
    def marks(self) -> tuple[str, ...]:
        """Texts that are no text to this tokenizer: a sentence must not hold them."""
        return (IMAGE, *SPECIAL, *self.added_tokens)

    def token_id(self, token: str) -> int:
        """Id of one special or added token.

        Raises:
            InputError: the vocabulary does not hold it.
        """
        if token in self.added_tokens:
            return self.added_tokens[token]
        piece = self._pieces.piece_to_id(token)
        if piece == self.unk_id and token != "<unk>":
            raise InputError(f"the tokenizer has no token {token}; it was made for another model.")
        return piece

    def encode(self, text: str, *, bos: bool = True) -> list[int]:
        """Ids of a text, with a leading `<s>` by default."""
        ids = [self.bos_id] if bos else []
        if not self.legacy:
            text = _UNDERLINE + text.replace(_UNDERLINE, " ")
        for chunk in self._split_pattern.split(text):
            token = chunk.strip()
            if token in self.added_tokens or token in SPECIAL:
                ids.append(self.token_id(token))
            elif chunk:
                ids.extend(self._encode_chunk(chunk))
        return ids

    def _encode_chunk(self, chunk: str) -> list[int]:
        if self.legacy:
            return self._pieces.encode(chunk)
        first = chunk.startswith(_UNDERLINE)
        chunk = chunk.removeprefix(_UNDERLINE) if first else chunk
        pieces = self._pieces.encode(chunk, out_type=str)
        if not first and not chunk.startswith(" ") and pieces and pieces[0].startswith(_UNDERLINE):
            pieces = [piece for piece in (pieces[0][1:], *pieces[1:]) if piece]
        return [self._pieces.piece_to_id(piece) for piece in pieces]

    def encode_with_images(self, text: str) -> list[int]:
        """Ids of a text in which `<image>` marks images: each piece is encoded on its own, -200 between them."""
        ids = self.encode("")
        for number, piece in enumerate(text.split(IMAGE)):
            if number:
                ids.append(IMAGE_ID)
            ids.extend(self.encode(piece)[1:])
        return ids

    def save_pretrained(self, directory: Path) -> None:
        """Writes `tokenizer.model`, `added_tokens.json` and `tokenizer_config.json`."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "tokenizer.model").write_bytes(self._model)
        (directory / "added_tokens.json").write_text(json.dumps(self.added_tokens, indent=1) + "\n")
        config = {"tokenizer_class": "LlamaTokenizer", "legacy": self.legacy, "add_bos_token": True}
        (directory / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")

    @classmethod
    def from_pretrained(cls, directory: Path) -> LlamaSentencePiece:
        """Reads a LLaMA tokenizer's files: the sentencepiece model, and the added tokens wherever they stand.

        A folder without `legacy` is read as legacy, as the releases of transformers did that wrote no such entry.

        Raises:
            InputError: no `tokenizer.model` there, a file that cannot be read, or added tokens whose ids disagree.
        """
        model = directory / "tokenizer.model"
        if not model.is_file():
            raise InputError(f"{directory} has no tokenizer.model: {_why_absent(directory)}.")
        config = directory / "tokenizer_config.json"
        legacy = read_json(config).get("legacy") if config.is_file() else None
        if not isinstance(legacy, bool | None):
            raise InputError(f"{config}: legacy is {legacy!r}, expected true or false.")
        content = model.read_bytes()
        if not content:
            raise InputError(f"{model} is empty (0 bytes), not a sentencepiece model.")
        try:
            return cls(content, _added_tokens(directory), legacy=legacy is not False)
        except RuntimeError as error:
            raise InputError(f"{model} is not a sentencepiece model: {error}.") from error


def _why_absent(directory: Path) -> str:
    wanted = "copy the file from the model that it was made from, beside the others"
    if (directory / "tokenizer.json").is_file():
        return (
            "transformers 5 saves tokenizer.json alone, from which the published ids cannot be had (it splits otherwise"
            f" around added tokens); {wanted}"
        )
    return f"the sentencepiece model of a LLaMA tokenizer is expected; {wanted}"


def _added_tokens(directory: Path) -> dict[str, int]:
    """Tokens beyond `SPECIAL` with their ids.

    They stand in `added_tokens.json`, from transformers 4.34 on in `tokenizer_config.json`, and in folders saved by
    transformers 5 in `tokenizer.json` alone.
    """
    tokens: dict[str, int] = {}
    came_from: dict[str, Path] = {}
    for name, listed in _LISTED.items():
        file = directory / name
        for token, number in listed(read_json(file)) if file.is_file() else ():
            if not isinstance(token, str) or type(number) is not int or number < 0:
                raise InputError(f"{file}: {token} has id {number!r}, expected a whole number.")
            if token in SPECIAL:
                continue
            if tokens.setdefault(token, number) != number:
                raise InputError(f"{file} gives {token} the id {number}, {came_from[token]} gives it {tokens[token]}.")
            came_from.setdefault(token, file)
    texts: dict[int, str] = {}
    for token, number in tokens.items():
        if (other := texts.setdefault(number, token)) != token:
            raise InputError(
                f"{came_from[token]} gives {token} the id {number}, which {came_from[other]} gives {other}."
            )
    return tokens


def _of_decoder(config: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    decoder = config.get("added_tokens_decoder")
    for number, token in decoder.items() if isinstance(decoder, dict) else ():
        yield token.get("content") if isinstance(token, dict) else token, int(number) if number.isdecimal() else number


def _of_tokenizers(content: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    listed = content.get("added_tokens")
    for token in listed if isinstance(listed, list) else ():
        yield (token.get("content"), token.get("id")) if isinstance(token, dict) else (token, None)


_LISTED: dict[str, Callable[[dict[str, Any]], Iterable[tuple[Any, Any]]]] = {
    "added_tokens.json": lambda content: content.items(),
    "tokenizer_config.json": _of_decoder,
    "tokenizer.json": _of_tokenizers,
}


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> LlamaSentencePiece:
    """Trains a small LLaMA-style tokenizer (BPE with byte fall-back) on sentences; the same texts give the same one.

    Raises:
        InputError: the vocabulary has no room for their letters.
    """
    model, sentences = io.BytesIO(), sorted(texts)
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=model,
            model_type="bpe",
            vocab_size=vocabulary,
            hard_vocab_limit=False,
            byte_fallback=True,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            character_coverage=1.0,
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        if "required_chars" not in str(error):
            raise
        letters = len(set("".join(sentences)))
        raise InputError(
            f"model.language.vocabulary: {vocabulary} pieces have no room for 256 bytes, a few marks and the {letters}"
            " letters of the sentences that are trained on; make it larger."
        ) from error
    return LlamaSentencePiece(model.getvalue())
