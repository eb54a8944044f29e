"""What a cache of continuations holds: every branch reads its trunk and itself, and the trunk is kept once."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glus import KeyFrameSelector
from glus.model.sharing import SharedCache
from glus.selector.sharing import context_groups


@given(num_frames=st.integers(1, 400), max_context=st.integers(1, 20))
def test_every_frame_is_scored_once_within_a_context_that_is_not_too_long(num_frames: int, max_context: int) -> None:
    groups = context_groups(num_frames, max_context)
    assert sorted(frame for group in groups for frame in group) == list(range(num_frames))
    assert max(map(len, groups)) <= max_context
    assert max(map(len, groups)) - min(map(len, groups)) <= 1
    assert all(frame % len(groups) == offset for offset, group in enumerate(groups) for frame in group)


@torch.no_grad()
def test_branches_of_branches_equal_whole_sequences(selector: KeyFrameSelector) -> None:
    """A trunk of 5 tokens, 3 branches of 4, 2 twigs of 3 on each: the states of six sequences of 12."""
    model = selector.language_model.model
    trunk, branches, twigs = torch.randn(1, 5, 32), torch.randn(3, 4, 32), torch.randn(6, 3, 32)

    def read(embeddings: torch.Tensor, cache: SharedCache) -> torch.Tensor:
        return model(inputs_embeds=embeddings, past_key_values=cache, use_cache=True).last_hidden_state

    below = SharedCache.empty(selector.language_model.config.num_hidden_layers)
    read(trunk, below)
    middle = below.continued()
    read(branches, middle)
    found = read(twigs, middle.continued())
    whole = torch.cat([trunk.expand(6, -1, -1), branches.repeat_interleave(2, dim=0), twigs], dim=1)
    torch.testing.assert_close(found, model(inputs_embeds=whole).last_hidden_state[:, 9:], atol=1e-5, rtol=0)
    assert (below.get_seq_length(), middle.get_seq_length()) == (5, 9)
    assert torch.equal(read(twigs, middle.continued()), found)  # nothing was added to what is shared


@torch.no_grad()
def test_what_is_shared_is_kept_once(selector: KeyFrameSelector) -> None:
    below = SharedCache.empty(selector.language_model.config.num_hidden_layers)
    model = selector.language_model.model
    model(inputs_embeds=torch.randn(1, 50, 32), past_key_values=below, use_cache=True)
    branches = below.continued()
    model(inputs_embeds=torch.randn(20, 2, 32), past_key_values=branches, use_cache=True)
    assert [layer.keys.shape[::2] for layer in below.layers] == 2 * [(1, 50)]
    assert [layer.keys.shape[::2] for layer in branches.layers] == 2 * [(20, 2)]


def test_scoring_asks_before_each_pass_whether_to_go_on(selector: KeyFrameSelector, clip: np.ndarray) -> None:
    """Seven frames: one pass through the tower, then 2 contexts (of 4 and 3 frames), 2 frames at a time."""
    asked: list[int] = []

    def go_on() -> None:
        asked.append(1)
        if len(asked) > 5:
            raise KeyboardInterrupt

    scores = selector.score(clip, ["the red circle"], max_context_frames=4, batch=2, go_on=go_on)
    assert len(asked) == 1 + 2 + 2
    assert torch.equal(scores, selector.score(clip, ["the red circle"], max_context_frames=4, batch=2))
    with pytest.raises(KeyboardInterrupt):
        selector.score(clip, ["the red circle"], max_context_frames=4, batch=2, go_on=go_on)
    assert len(asked) == 6
