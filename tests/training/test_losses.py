"""Losses by hand."""

import math

import torch

from glus.training.segmentation.batch import TokenKey
from glus.training.segmentation.contrastive import TokenBank, contrastive_loss
from glus.training.segmentation.losses import bce_per_mask, dice_per_mask, seg_cross_entropy


def test_bce_and_dice_by_hand():
    logits = torch.tensor([[[0.0, 0.0]], [[100.0, -100.0]]])
    targets = torch.tensor([[[True, False]], [[True, False]]])
    assert torch.allclose(bce_per_mask(logits, targets), torch.tensor([math.log(2), 0.0]), atol=1e-6)
    # p = 1/2 twice, target one pixel: 1 - 2 * 0.5 / (1 + 1); a perfect mask: 0
    assert torch.allclose(dice_per_mask(logits, targets), torch.tensor([0.5, 0.0]), atol=1e-3)


def test_seg_cross_entropy_is_the_mean_over_positions():
    logits = torch.zeros(2, 3, 4)
    logits[0, 0, 1] = math.log(3.0)
    expected = (5 * math.log(4) + math.log(6 / 3)) / 6
    assert math.isclose(float(seg_cross_entropy(logits, 1)), expected, rel_tol=1e-6)


def key(video, expression, frame="00000", objects=("1",)):
    return TokenKey(video, expression, frame, frozenset(objects))


def loss_of(prompts, keys, bank, **settings):
    defaults = {
        "temperature": 0.5, "num_negatives": 2, "same_object_negatives": False, "single_contributor": True,
    }  # fmt: skip
    return contrastive_loss(
        prompts,
        keys,
        bank,
        pick=lambda count, population: [n % population for n in range(count)],
        **defaults | settings,
    )


def test_contrastive_by_hand():
    bank = TokenBank(10)
    bank.insert([key("b", "0"), key("b", "1")], torch.tensor([[0.0, 2.0], [0.0, 5.0]]))
    prompts = torch.tensor([[1.0, 0.0], [3.0, 0.0]])
    loss = loss_of(prompts, [key("a", "0"), key("a", "1")], bank)
    # each token: positive at cosine 1, both entries of the bank at cosine 0
    expected = -math.log(math.exp(2) / (math.exp(2) + 2))
    assert math.isclose(float(loss), expected, rel_tol=1e-5)


def test_contrastive_needs_a_positive_and_enough_negatives():
    prompts = torch.eye(2)
    assert loss_of(prompts, [key("a", "0"), key("a", "1", frame="00001")], TokenBank(10)) is None
    assert loss_of(prompts, [key("a", "0"), key("a", "1")], TokenBank(10)) is None


def test_one_contributing_token_is_enough_but_not_as_published():
    bank = TokenBank(10)
    bank.insert([key("a", "7"), key("b", "0")], torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    prompts, keys = torch.tensor([[1.0, 0.0]]), [key("a", "0")]
    assert loss_of(prompts, keys, bank, num_negatives=1) is not None
    assert loss_of(prompts, keys, bank, num_negatives=1, single_contributor=False) is None


def test_same_object_at_another_time_is_a_negative_only_where_asked():
    token = key("a", "0")
    bank = TokenBank(10)
    bank.insert([key("a", "1", frame="00005"), key("a", "2", objects=("2",))], torch.eye(2))
    assert len(bank.negatives(token, same_object=False)) == 1
    assert len(bank.negatives(token, same_object=True)) == 2


def test_bank_forgets_the_oldest_and_resumes():
    bank = TokenBank(2)
    bank.insert([key("a", str(number)) for number in range(3)], torch.eye(3))
    other = TokenBank(2)
    other.load_state_dict(bank.state_dict())
    state = other.state_dict()
    assert [entry[1] for entry in state["keys"]] == ["1", "2"]
    assert torch.equal(torch.stack(state["vectors"]), torch.eye(3)[1:])


def test_no_gradient_enters_the_bank():
    bank = TokenBank(4)
    bank.insert([key("b", "0"), key("b", "1")], torch.tensor([[0.0, 1.0], [0.0, 2.0]]))
    prompts = torch.tensor([[1.0, 0.1], [0.9, 0.0]], requires_grad=True)
    loss_of(prompts, [key("a", "0"), key("a", "1")], bank).backward()
    assert prompts.grad is not None and prompts.grad.abs().sum() > 0
    assert not any(vector.requires_grad for vector in bank.state_dict()["vectors"])


def test_a_positive_pair_is_one_object_in_one_frame_said_twice():
    bank = TokenBank(2)
    assert bank.has_pair([key("a", "0"), key("a", "1")])
    assert not bank.has_pair([key("a", "0"), key("b", "1"), key("a", "1", frame="00001")])
    bank.insert([key("a", "0")], torch.zeros(1, 2))
    assert bank.has_pair([key("a", "1")])
    assert not bank.has_pair([key("a", "1"), key("b", "2")])  # the first of three has left a bank of two
