"""What the image phase demands of the states, by hand; which gradients pass through memory; targets of 2."""

import math

import pytest
import torch
from torch.nn import functional

from glus.config import MemoryConfig
from glus.training.segmentation.objectives import mask_losses, segment_window
from glus.training.segmentation.pretraining import word_prediction_loss


@pytest.mark.parametrize("detach", [False, True])
def test_gradients_reach_earlier_prompts_through_memory_unless_cut_off(model, detach):
    """d logits(frame 3) / d [SEG](frame q): it flows (4.2); the published code has 0 for q < 3."""
    masks, generator = model.masks.requires_grad_(False), torch.Generator().manual_seed(0)
    features = masks.encode(torch.randn(4, 3, masks.image_size, masks.image_size, generator=generator))
    prompts = torch.randn(2, 4, masks.sam2.hidden_dim, generator=generator, requires_grad=True)
    memory = MemoryConfig(train_stride=1, max_strided=6, detach=detach)
    logits = segment_window(masks, features, prompts, torch.zeros(2, dtype=torch.long), memory)
    logits[0, 3].sum().backward()
    reached = prompts.grad.abs().amax(dim=-1) > 0
    assert reached[0].tolist() == ([False, False, False, True] if detach else [True] * 4)
    assert not reached[1].any()  # another expression has a memory of its own


@pytest.mark.parametrize("module", ["memory_attention", "memory_encoder"])
def test_both_halves_of_memory_are_trained_through_later_frames(model, module):
    masks, generator = model.masks, torch.Generator().manual_seed(0)
    features = masks.encode(torch.randn(2, 3, masks.image_size, masks.image_size, generator=generator))
    prompts = torch.randn(1, 2, masks.sam2.hidden_dim, generator=generator)
    memory = MemoryConfig(train_stride=1, max_strided=6, detach=False)
    segment_window(masks, features, prompts, torch.zeros(1, dtype=torch.long), memory)[0, 1].sum().backward()
    weights = [value for value in getattr(masks.sam2, module).parameters() if value.ndim > 1]
    assert any(value.grad is not None and value.grad.abs().sum() > 0 for value in weights)


def test_without_memory_each_frame_stands_alone(model):
    """Table 4 without MB: no prompt reaches another frame, and a frame alone gives the same."""
    masks, generator = model.masks.requires_grad_(False), torch.Generator().manual_seed(0)
    pixels = torch.randn(3, 3, masks.image_size, masks.image_size, generator=generator)
    prompts = torch.randn(2, 3, masks.sam2.hidden_dim, generator=generator, requires_grad=True)
    clip_of = torch.zeros(2, dtype=torch.long)
    logits = segment_window(masks, masks.encode(pixels), prompts, clip_of, None)
    alone = segment_window(masks, masks.encode(pixels[2:]), prompts[:, 2:], clip_of, None)
    assert torch.allclose(logits[:, 2:], alone, atol=1e-4)
    logits[:, 2].sum().backward()
    assert (prompts.grad.abs().amax(dim=(0, 2)) > 0).tolist() == [False, False, True]


def test_a_pixel_of_two_summed_annotations_counts_two():
    """As published: a target of 2 makes a confident logit's BCE negative."""
    logits = torch.full((1, 1, 1, 1), 6.0)
    for target in (0, 1, 2):
        bce, dice = mask_losses(logits, [torch.tensor([[[[target]]]], dtype=torch.uint8)])
        assert math.isclose(float(bce), float(functional.softplus(torch.tensor(6.0))) - 6 * target, abs_tol=1e-5)
        probability = 1 / (1 + math.exp(-6))
        assert math.isclose(float(dice), 1 - 2 * probability * target / (probability + target), abs_tol=2e-3)


def test_states_predict_the_words_that_tell_conversations_apart():
    input_ids = torch.tensor([[0, 1, -200, 3], [0, 2, -200, 0]])  # 0 is said in both
    states = torch.tensor([[0.0, 2.0, 0.0, 2.0], [0.0, 0.0, 5.0, 0.0]])
    first = -math.log(math.exp(2) / (2 + 2 * math.exp(2)))  # words 1 and 3, half each
    second = -math.log(math.exp(5) / (3 + math.exp(5)))
    assert math.isclose(
        float(word_prediction_loss(states, input_ids, torch.eye(4))), (first + second) / 2, rel_tol=1e-5
    )


def test_word_prediction_asks_nothing_where_all_say_the_same():
    states = torch.randn(3, 2)
    loss = word_prediction_loss(states, torch.tensor([[1, 0]] * 3), torch.randn(4, 2))
    assert float(loss) == 0.0
