"""Samples repeat by their step's number, the loss is the paper's, and training learns."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from glus import KeyFrameSelector
from glus.config import SelectorConfig
from glus.errors import InputError
from glus.processing.selector_conversation import Tail, encode_tail
from glus.records.split import StagedSplit
from glus.selector.model import SelectorOutput, add_score_token
from glus.training.selector.labels import LabelledVideo
from glus.training.selector.objective import SelectorObjective, selector_losses
from glus.training.selector.samples import SelectorSampler, draw_context

CONFIG = SelectorConfig.model_validate(
    {
        "model": {
            "base": None,
            "clusters": [8, 4, 2],
            "neighbours": [5, 3, 3],
            "vision_tower": None,
            "lora": {"rank": 0, "alpha": 16, "dropout": 0.0, "targets": []},
            "head_size": 16,
        },
        "num_context_frames": [2, 2],
        "num_query_frames": 2,
        "query_in_context": False,
        "steps": 1,
        "samples": 4,
        "accumulation": 1,
        "max_expressions": 2,
        "optimiser": {
            "learning_rate": 1e-3,
            "betas": [0.9, 0.95],
            "weight_decay": 0.0,
            "warmup_steps": 0,
            "schedule": "constant",
            "clip_norm": 1.0,
            "rate_factors": {},
        },
        "score_weight": 1.0,
        "ce_weight": 1.0,
        "absent_is_ideal": False,
        "held_out": 0.1,
        "trainable": ["language"],
        "vary_conversation": True,
        "checkpoint_every": 1,
        "log_every": 1,
    }
)


@pytest.fixture
def videos(tmp_path: Path, stage_split: Callable[..., StagedSplit]) -> list[LabelledVideo]:
    """Two videos: bright frames are to be scored 1, dark ones 0."""
    split = stage_split(tmp_path, {"a": ["0", "1", "2"], "b": ["0", "1", "2"]})
    targets = {"a": [1.0, 0.0, 1.0], "b": [0.0, 0.0, 1.0]}
    generator = np.random.default_rng(0)
    for name, track in targets.items():
        for index, target in enumerate(track):
            pixels = generator.integers(0, 80, (32, 32, 3)) + int(150 * target)
            path = split.frame_path(split.videos[name], index).with_suffix(".jpg")
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(path)
    return [
        LabelledVideo(split, split.videos[name], tuple(split.expressions[name]), np.float32([track] * 3))
        for name, track in targets.items()
    ]


@pytest.fixture
def sampler(videos: list[LabelledVideo], selector: KeyFrameSelector) -> SelectorSampler:
    return SelectorSampler(
        videos, {"synthetic/train": 1.0}, CONFIG, selector.tokenizer, selector.image_processor, seed=0
    )


def test_a_step_can_be_drawn_again(sampler: SelectorSampler) -> None:
    first = sampler(7)
    sampler(8)
    again = sampler(7)
    assert len(first.samples) == CONFIG.samples
    for left, right in zip(first.samples, again.samples, strict=True):
        assert torch.equal(left.context, right.context)
        assert torch.equal(left.queries, right.queries)
        assert torch.equal(left.targets, right.targets)
        assert left.tails == right.tails
        assert left.context.shape == (2, 3, 32, 32)
        assert left.queries.shape == (CONFIG.num_query_frames, 3, 32, 32)
        assert left.targets.shape == (len(left.tails), CONFIG.num_query_frames)
        assert len(left.tails) == CONFIG.max_expressions
    drawn = {tail.ids for step in range(5) for sample in sampler(step).samples for tail in sample.tails}
    assert len(drawn) > 6


def test_sentences_are_worded_as_in_the_published_training(
    videos: list[LabelledVideo], selector: KeyFrameSelector
) -> None:
    """Blanks cut off, case and full stop kept; a mark is refused."""

    def tails(text: str) -> set[Tail]:
        said = [replace(item, expressions=(replace(item.expressions[0], text=text),) * 3) for item in videos]
        config = CONFIG.model_copy(update={"vary_conversation": False})
        weights = {"synthetic/train": 1.0}
        sampler = SelectorSampler(said, weights, config, selector.tokenizer, selector.image_processor, seed=0)
        return {tail for sample in sampler(0).samples for tail in sample.tails}

    assert tails(" The Orange kite  drifting. ") == {encode_tail(selector.tokenizer, "The Orange kite  drifting.")}
    with pytest.raises(InputError, match=r"holds \[SCORE\]"):
        tails("the [SCORE] sign")


def test_targets_belong_to_the_query_frames(sampler: SelectorSampler) -> None:
    for step in range(5):
        for sample in sampler(step).samples:
            bright = (sample.queries.mean(dim=(1, 2, 3)) > 0).float()
            assert sample.targets.tolist() == [bright.tolist()] * len(sample.tails)
            assert len(torch.unique(sample.queries, dim=0)) == CONFIG.num_query_frames


def test_as_published_the_number_of_context_frames_varies_and_queries_are_among_them(
    videos: list[LabelledVideo], selector: KeyFrameSelector
) -> None:
    published = CONFIG.model_copy(
        update={"num_context_frames": [1, 2], "num_query_frames": 1, "query_in_context": True}
    )
    sampler = SelectorSampler(
        videos, {"synthetic/train": 1.0}, published, selector.tokenizer, selector.image_processor, seed=0
    )
    samples = [sample for step in range(8) for sample in sampler(step).samples]
    assert {len(sample.context) for sample in samples} == {1, 2}
    for sample in samples:
        assert any(torch.equal(sample.queries[0], frame) for frame in sample.context)


def test_context_frames_come_from_equal_segments() -> None:
    generator = np.random.default_rng(0)
    draws = np.array([draw_context(24, 8, generator) for _ in range(50)])
    assert (draws // 3 == np.arange(8)).all()
    assert len(np.unique(draws)) == 24
    assert draw_context(8, 8, generator) == list(range(8))
    assert draw_context(3, 8, generator) == [0, 1, 2]


def test_loss_by_hand() -> None:
    """A sample's scores are averaged first, so that a sample with many weighs no more."""
    logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    output = SelectorOutput([torch.tensor([[0.5]]), torch.tensor([[1.2], [0.0]])], logits, torch.tensor([0, 2]))
    ce, score = selector_losses(output, [torch.tensor([[0.9]]), torch.tensor([[1.0], [0.4]])])
    probabilities = [np.exp(2) / (np.exp(2) + 2), 1 / (np.exp(1) + 2)]
    assert float(ce) == pytest.approx(-np.log(probabilities).mean(), abs=1e-6)
    assert float(score) == pytest.approx((0.4 + (0.2 + 0.4) / 2) / 2)


def test_training_learns_bright_from_dark(sampler: SelectorSampler, selector: KeyFrameSelector) -> None:
    objective = SelectorObjective(selector, score_weight=1.0, ce_weight=1.0)
    chosen = [*selector.language_model.parameters(), *selector.mm_projector.parameters()]
    optimiser = torch.optim.AdamW([*chosen, *selector.score_head.parameters()], lr=3e-3)
    losses = []
    for step in range(60):
        values = objective(sampler(step))
        optimiser.zero_grad()
        values["loss"].backward()
        optimiser.step()
        losses.append((float(values["ce"]), float(values["score"])))
    first, last = np.mean(losses[:5], axis=0), np.mean(losses[-5:], axis=0)
    assert last[0] < 0.5 * first[0]
    assert last[1] < 0.25 < first[1]  # no single score for all frames is closer than 0.4


def test_a_fresh_score_token_leaves_other_tokens_alone(selector: KeyFrameSelector) -> None:
    tokenizer, language = selector.tokenizer, selector.language_model
    before = language.model.embed_tokens.weight.detach().clone()
    del tokenizer.added_tokens["[SCORE]"]
    tokenizer.add_tokens(["[SEG]", "[SCORE]"])
    add_score_token(language, tokenizer)
    assert language.config.vocab_size == language.lm_head.out_features == len(tokenizer) == len(before) + 1
    assert torch.equal(language.model.embed_tokens.weight[:-1], before)
    torch.testing.assert_close(language.model.embed_tokens.weight[-1], before.mean(dim=0))
    states = torch.randn(2, 32)
    logits = language.lm_head(states)
    assert functional.softmax(logits, dim=-1).shape == (2, len(tokenizer))
