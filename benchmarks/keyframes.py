"""Scoring every frame of a clip: what prefix sharing saves against one whole prompt for every score.

The baseline reads frame by frame as published: every score encodes the K + 1 images of its prompt and reads all of it.
"CLIP cached" is the fair baseline: every frame is encoded once, every score still reads its whole prompt. Published
sizes of prompts (112 tokens a frame) with small random weights; CPU seconds, medians. Scores of whole prompts are
timed on a sample of the frames and counted for all.
"""

import statistics
import time
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM

from glus import KeyFrameSelector
from glus.processing.selector_conversation import encode_context, encode_tail, selector_texts
from glus.processing.sentences import SCORE, asked_of_selector
from glus.processing.tokenizer import IMAGE_ID, train_tokenizer
from glus.processing.transforms import build_clip_processor
from glus.selector.model import build_score_head
from glus.selector.sharing import context_groups

EXPRESSIONS = ["the white dog that jumps over the fence", "yellow bird", "which of the two cars turns left?"]
LAYOUTS = [(frames, expressions) for frames in (14, 40, 79) for expressions in (1, 3)]
MAX_CONTEXT, SAMPLE, REPEATS = 11, 5, 3
REAL_CONTEXT_TEXT, REAL_TAIL = 60, 50  # tokens of the LLaMA vocabulary around and after the images


def build_selector() -> KeyFrameSelector:
    tokenizer = train_tokenizer([*selector_texts(), *EXPRESSIONS], 600)
    tokenizer.add_tokens([SCORE])
    torch.manual_seed(0)
    vision = CLIPVisionConfig(
        image_size=224, patch_size=14, hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4
    )
    language = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=172,
        num_hidden_layers=2,
        num_attention_heads=4,
        initializer_range=0.2,
        pad_token_id=0,
    )
    return KeyFrameSelector(
        vision_tower=CLIPVisionModel(vision),
        mm_projector=nn.Linear(32, 64),
        language_model=LlamaForCausalLM(language),
        tokenizer=tokenizer,
        image_processor=build_clip_processor(224),
        clusters=(64, 32, 16),
        neighbours=(5, 3, 3),
        score_head=build_score_head(64, 256),
    ).eval()


class WholePrompts:
    """Scores one pair of frame and expression at a time, sharing nothing."""

    def __init__(self, selector: KeyFrameSelector, clip: list[Image.Image]) -> None:
        self.selector, self.clip = selector, clip
        self.groups = context_groups(len(clip), MAX_CONTEXT)

    def images(self, query: int) -> list[int]:
        return [*self.groups[query % len(self.groups)], query]

    def encode(self, indices: list[int]) -> Tensor:
        pixels = self.selector.image_processor([self.clip[index] for index in indices], return_tensors="pt")
        return self.selector.encode_frames(pixels["pixel_values"])

    def ids(self, query: int, expression: str) -> list[int]:
        tail = encode_tail(self.selector.tokenizer, asked_of_selector(expression))
        return [*encode_context(self.selector.tokenizer, len(self.images(query)) - 1), IMAGE_ID, *tail.ids]

    def num_tokens(self, query: int, expression: str) -> int:
        ids = self.ids(query, expression)
        return len(ids) + ids.count(IMAGE_ID) * (self.selector.token_merging.num_tokens - 1)

    def score(self, query: int, expression: str, tokens: Tensor) -> float:
        """With the visual tokens [K + 1, P, D] of the prompt's images."""
        embed = self.selector.language_model.model.embed_tokens
        ids = self.ids(query, expression)
        cuts = [-1, *(index for index, token in enumerate(ids) if token == IMAGE_ID), len(ids)]
        texts = [embed(torch.tensor(ids[a + 1 : b])) for a, b in pairwise(cuts)]
        parts = [part for pair in zip(texts[:-1], tokens, strict=True) for part in pair]
        states = self.selector.language_model.model(inputs_embeds=torch.cat([*parts, texts[-1]])[None])
        before = ids[::-1].index(self.selector.tokenizer.token_id(SCORE)) + 2
        return float(self.selector.score_head(states.last_hidden_state[0, -before]))


class Reading:
    """Tokens and CPU seconds of the language model while it is watched."""

    def __init__(self, selector: KeyFrameSelector) -> None:
        self.tokens, self.seconds = 0, 0.0
        model = selector.language_model.model
        self._hooks = (
            model.register_forward_pre_hook(self._begin, with_kwargs=True),
            model.register_forward_hook(self._end),
        )

    def _begin(self, _: nn.Module, __: tuple, kwargs: dict[str, Tensor]) -> None:
        self.tokens += kwargs["inputs_embeds"][..., 0].numel()
        self.seconds -= time.process_time()

    def _end(self, *_: object) -> None:
        self.seconds += time.process_time()

    def stop(self) -> None:
        for hook in self._hooks:
            hook.remove()


@dataclass(frozen=True)
class Cost:
    """Tokens and CPU seconds of scoring a clip."""

    tokens: int
    published: float
    cached: float
    language: float


def moving_square(num_frames: int) -> list[Image.Image]:
    """A square that crosses a patterned picture and changes its colour, 160 x 120."""
    generator = np.random.default_rng(num_frames)
    ground = generator.integers(0, 256, (6, 8, 3), dtype=np.uint8).repeat(20, axis=0).repeat(20, axis=1)
    frames = []
    for index in range(num_frames):
        frame = ground.copy()
        left = 120 * index // num_frames
        frame[40:80, left : left + 40] = generator.integers(0, 256, 3)
        frames.append(Image.fromarray(frame))
    return frames


def score_shared(selector: KeyFrameSelector, clip: list[Image.Image], expressions: list[str]) -> tuple[Cost, Tensor]:
    runs = []
    for _ in range(REPEATS):
        reading, start = Reading(selector), time.process_time()
        scores = selector.score(clip, expressions)
        runs.append((time.process_time() - start, reading.seconds))
        reading.stop()
    total, language = (statistics.median(part) for part in zip(*runs, strict=True))
    return Cost(reading.tokens, total, total, language), scores


@torch.no_grad()
def score_whole(
    selector: KeyFrameSelector, clip: list[Image.Image], expressions: list[str], scores: Tensor
) -> tuple[Cost, float]:
    """A sample of whole prompts, extrapolated; the largest difference from the given scores."""
    whole = WholePrompts(selector, clip)
    encoding, language, difference = [], [], 0.0
    for query in np.linspace(0, len(clip) - 1, SAMPLE).round().astype(int).tolist():
        for number, text in enumerate(expressions):
            start = time.process_time()
            tokens = whole.encode(whole.images(query))
            encoding.append((time.process_time() - start) / len(tokens))
            reading = Reading(selector)
            found = whole.score(query, text, tokens)
            reading.stop()
            language.append(reading.seconds)
            assert reading.tokens == whole.num_tokens(query, text)
            difference = max(difference, abs(found - float(scores[number, query])))
    num_tokens = sum(whole.num_tokens(query, text) for query in range(len(clip)) for text in expressions)
    images = sum(len(whole.images(query)) for query in range(len(clip))) * len(expressions)
    image, prompts = statistics.median(encoding), statistics.median(language) * len(clip) * len(expressions)
    return Cost(num_tokens, images * image + prompts, len(clip) * image + prompts, prompts), difference


def line(name: str, whole: Cost, shared: Cost) -> str:
    seconds = f"{whole.published:>10.2f} {whole.cached:>7.2f} {shared.published:>7.2f}"
    ratios = (
        f"{whole.published / shared.published:>10.1f} {whole.cached / shared.published:>7.1f}"
        f" {whole.language / shared.language:>6.1f}"
    )
    return f"{name:<12} {whole.tokens:>8} {shared.tokens:>7} {whole.tokens / shared.tokens:>6.1f} {seconds} {ratios}"


def total(costs: list[Cost]) -> Cost:
    return Cost(*(sum(getattr(cost, field.name) for cost in costs) for field in fields(Cost)))


def real_ratio(num_frames: int, num_expressions: int) -> float:
    """Language-model tokens by the formula, for prompts in the real vocabulary."""
    groups = [len(group) for group in context_groups(num_frames, MAX_CONTEXT)]
    contexts = [112 * length + REAL_CONTEXT_TEXT for length in groups]
    whole = sum(
        length * num_expressions * (context + 112 + REAL_TAIL) for length, context in zip(groups, contexts, strict=True)
    )
    shared = sum(contexts) + num_frames * (112 + num_expressions * REAL_TAIL)
    return whole / shared


def main() -> None:
    torch.set_num_threads(1)
    selector = build_selector()
    selector.score(moving_square(14), EXPRESSIONS)  # warm-up
    print("frames x       language-model tokens          CPU seconds                 times less time than     scores:")
    print(
        "expressions     whole  shared  ratio  published  cached  shared  published  cached     LM  difference  spread"
    )
    rows = []
    for num_frames, num_expressions in LAYOUTS:
        clip, expressions = moving_square(num_frames), EXPRESSIONS[:num_expressions]
        shared, scores = score_shared(selector, clip, expressions)
        whole, difference = score_whole(selector, clip, expressions, scores)
        rows.append((whole, shared))
        scored = f"{difference:>11.1e} {float(scores.std(dim=1).min()):>7.1e}"
        print(line(f"{num_frames:>3} x {num_expressions}", whole, shared), scored)
        assert difference <= 1e-5, "sharing changes scores"
    print(line("all", *(total([row[part] for row in rows]) for part in range(2))))
    print("\nLM: the language model's own time. With N frames, contexts of K frames and tails of t tokens it reads")
    print("  whole   sum over frames and expressions of c(K) + 112 + t, where c(K) = 112 K + text of the context")
    print("  shared  sum over contexts of c(K), N * 112, N * sum over expressions of t")
    ratios = ", ".join(f"{n} x {e}: {real_ratio(n, e):.1f}" for n, e in LAYOUTS)
    print(
        f"In the LLaMA vocabulary ({REAL_CONTEXT_TEXT} tokens of text before, {REAL_TAIL} behind the target): {ratios}"
    )


if __name__ == "__main__":
    main()
