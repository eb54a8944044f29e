"""How much of each visual token a mask covers, by hand: centre square, patches, neighbours averaged in raster order."""

import torch

from glus.processing.coverage import coverage


def test_a_wide_frame_is_seen_through_its_centre_square():
    mask = torch.zeros(1, 1, 4, 8, dtype=torch.bool)
    mask[..., :2] = True  # beside the square of columns 2 to 5
    mask[..., 0, 2] = mask[..., 2:, 4:] = True
    assert coverage(mask, 4, 4).tolist() == [[0.25, 0.0, 0.0, 1.0]]


def test_neighbours_in_raster_order_are_one_token():
    mask = torch.zeros(2, 2, 4, 4, dtype=torch.bool)
    mask[0, 1, 0] = True  # the upper row of the second frame
    mask[1, 0, :, 3] = True  # the right column of the first
    found = coverage(mask, 16, 8)
    assert found[0].tolist() == [0] * 8 + [1, 1, 0, 0, 0, 0, 0, 0]
    assert found[1].tolist() == [0, 0.5] * 4 + [0] * 8


def test_a_tall_frame_with_an_odd_rest():
    mask = torch.ones(1, 1, 5, 2, dtype=torch.bool)
    mask[0, 0, 1] = False  # the first row of the square
    assert coverage(mask, 4, 2).tolist() == [[0.0, 1.0]]
