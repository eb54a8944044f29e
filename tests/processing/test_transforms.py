"""Pixels for the encoders."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from glus.processing.transforms import FrameTransform


@pytest.mark.parametrize("size", [(854, 480), (480, 854), (65, 64), (64, 64), (7, 3), (333, 1000)])
@pytest.mark.parametrize(
    "settings", [{}, {"size": {"height": 40, "width": 48}}, {"do_resize": False}, {"resample": Image.Resampling.BOX}]
)
def test_clip_sees_the_pixels_of_the_published_preprocessing(size, settings):
    """Frames are resized before they become arrays; the processor by itself does it behind."""
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    processor = CLIPImageProcessorPil(
        **{"size": {"shortest_edge": 64}, "crop_size": {"height": 64, "width": 64}} | settings
    )
    found = FrameTransform(processor, 64).clip([Image.fromarray(noise)])
    assert torch.equal(found, processor([Image.fromarray(noise)], return_tensors="pt")["pixel_values"])
