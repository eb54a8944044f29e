"""Pixels for the two encoders: CLIP sees the centre square, SAM-2 the whole frame squeezed into a square."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def build_clip_processor(image_size: int) -> CLIPImageProcessorPil:
    """The standard CLIP preprocessing at a given size, by PIL (the torchvision one gives other pixels)."""
    return CLIPImageProcessorPil(
        size={"shortest_edge": image_size}, crop_size={"height": image_size, "width": image_size}
    )


class FrameTransform:
    """Turns frames into the inputs of both encoders.

    Args:
        clip_processor: preprocessing of the CLIP tower.
        sam2_size: side of SAM-2's square input, pixels.
    """

    def __init__(self, clip_processor: CLIPImageProcessorPil, sam2_size: int) -> None:
        self.clip_processor = clip_processor
        self._sam2 = v2.Compose(
            [
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Resize((sam2_size, sam2_size), antialias=True),
                v2.Normalize(_IMAGENET_MEAN, _IMAGENET_STD),
            ]
        )

    def clip(self, frames: Sequence[Image.Image]) -> Tensor:
        """Float [N, 3, h, w] for the CLIP tower."""
        return self.clip_processor([self._resized(frame) for frame in frames], return_tensors="pt")["pixel_values"]

    def sam2(self, frames: Sequence[Image.Image]) -> Tensor:
        """Float [N, 3, S, S] for SAM-2's image encoder; the aspect ratio is not kept, as published."""
        return torch.stack([self._sam2(frame) for frame in frames])

    def _resized(self, frame: Image.Image) -> Image.Image:
        """A frame at the size that the processor resizes to; it would copy the whole frame several times for that."""
        processor = self.clip_processor
        edge, short = processor.size["shortest_edge"] if processor.do_resize else None, min(frame.size)
        if edge is None:
            return frame
        width, height = (edge * side // short for side in frame.size)
        return frame.resize((width, height), processor.resample)
