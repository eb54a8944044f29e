"""What the image phase demands of the states, by hand."""

import math

import torch

from glus.training.objectives import recall_loss


def test_recall_names_the_words_that_tell_conversations_apart():
    input_ids = torch.tensor([[0, 1, -200, 3], [0, 2, -200, 0]])  # 0 is said in both
    states = torch.tensor([[0.0, 2.0, 0.0, 2.0], [0.0, 0.0, 5.0, 0.0]])
    first = -math.log(math.exp(2) / (2 + 2 * math.exp(2)))  # words 1 and 3, half each
    second = -math.log(math.exp(5) / (3 + math.exp(5)))
    assert math.isclose(float(recall_loss(states, input_ids, torch.eye(4))), (first + second) / 2, rel_tol=1e-5)


def test_recall_asks_nothing_where_all_say_the_same():
    states = torch.randn(3, 2)
    loss = recall_loss(states, torch.tensor([[1, 0]] * 3), torch.randn(4, 2))
    assert float(loss) == 0.0
