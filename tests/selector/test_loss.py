"""The objective with the published noise: expressions that share nothing, and still the same loss."""

import torch

from glus import KeyFrameSelector
from glus.processing.selector_conversation import encode_tail
from glus.selector.token_merging import TokenMerging
from glus.training.selector.objective import SelectorObjective
from glus.training.selector.samples import SelectorBatch, SelectorSample


def sample(selector: KeyFrameSelector, num_context: int, num_queries: int, expressions: list[str]) -> SelectorSample:
    return SelectorSample(
        torch.randn(num_context, 3, 32, 32),
        torch.randn(num_queries, 3, 32, 32),
        tuple(encode_tail(selector.tokenizer, text) for text in expressions),
        torch.rand(len(expressions), num_queries),
    )


def test_noise_that_decides_nothing_changes_no_loss(selector: KeyFrameSelector) -> None:
    """Samples of different shapes; readings by expression are put together by sample again."""
    torch.manual_seed(0)
    selector.token_merging = TokenMerging((8, 4), (5, 3))  # with two clusters only noise would tell densities apart
    batch = SelectorBatch(
        (
            sample(selector, 3, 2, ["the circle", "it", "which square moves?"]),
            sample(selector, 1, 1, ["the small red circle"]),
            sample(selector, 2, 3, ["a square", "that"]),
        )
    )
    objective = SelectorObjective(selector, score_weight=1.0, ce_weight=1.0)
    quiet, noisy = objective(batch), objective(batch, noise_seed=5)
    for name in ("loss", "ce", "score"):
        torch.testing.assert_close(noisy[name], quiet[name], atol=1e-5, rtol=0)


def test_expressions_see_noise_of_their_own(selector: KeyFrameSelector) -> None:
    """One expression twice over a frame whose patches only noise tells apart: two scores."""
    tails = 2 * (encode_tail(selector.tokenizer, "it"),)
    even = SelectorSample(torch.zeros(2, 3, 32, 32), torch.zeros(1, 3, 32, 32), tails, torch.zeros(2, 1))
    scores: list[torch.Tensor] = []
    selector.register_forward_hook(lambda _, __, output: scores.append(torch.cat(output.scores)))
    objective = SelectorObjective(selector, score_weight=1.0, ce_weight=1.0)
    for seed in (None, 1, 1):
        objective(SelectorBatch((even,)), noise_seed=seed)
    assert float((scores[0][0] - scores[0][1]).detach().abs()) < 1e-5
    assert not torch.equal(scores[1][0], scores[1][1])
    assert torch.equal(scores[1], scores[2])
