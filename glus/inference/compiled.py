"""SAM-2's image encoder compiled by `torch.compile`, where that gives the same features."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from glus.model.glus import GlusModel

TOLERANCE = 1e-3  # of the largest entry of a feature map; rounding in another order moves the tiny model's by 1e-6

logger = logging.getLogger(__name__)


class _FrameByFrame(nn.Module):
    """An image encoder that sees one frame at a time, so that all its inputs have one shape."""

    def __init__(self, encoder: Callable[[Tensor], dict[str, Any]]) -> None:
        super().__init__()
        self._encoder = encoder

    def forward(self, pixels: Tensor) -> dict[str, Any]:
        """Features of frames, float [N, 3, S, S], as SAM-2's own encoder gives them."""
        frames = [self._encoder(frame) for frame in pixels.split(1)]
        return {
            "vision_features": torch.cat([frame["vision_features"] for frame in frames]),
            **{
                name: [torch.cat(maps) for maps in zip(*(frame[name] for frame in frames), strict=True)]
                for name in ("vision_pos_enc", "backbone_fpn")
            },
        }


@torch.inference_mode()
def compile_image_encoder(model: GlusModel, backend: str | Callable[..., Any] = "inductor") -> None:
    """Compiles SAM-2's image encoder for one frame, and takes it where it agrees with the plain one on noise.

    Where it cannot be compiled, or differs by more than `TOLERANCE`, the model stays as it is and one line says so. The
    language model is left alone: its inputs have a new length for each sentence.

    Args:
        model: in evaluation mode, on its device.
        backend: see `torch.compile`.
    """
    sam2, size = model.masks.sam2, model.masks.image_size
    plain = sam2.image_encoder
    frame = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0)).to(model.device)
    logger.info("compiling SAM-2's image encoder, which takes minutes")
    try:
        compiled = torch.compile(plain, dynamic=False, backend=backend)
        difference = _difference(plain(frame)["backbone_fpn"], compiled(frame)["backbone_fpn"])
    except (RuntimeError, OSError, ImportError) as error:  # a missing C compiler, too: torch wraps what backends raise
        reason = " ".join(str(error).split("\n")[:2])
        logger.warning("SAM-2's image encoder cannot be compiled here (%s); it runs as it is.", reason)
        return
    if not difference <= TOLERANCE:
        logger.warning(
            "SAM-2's image encoder gives other features when it is compiled (by %.1e of the largest, %.0e is allowed);"
            " it runs as it is.",
            difference,
            TOLERANCE,
        )
        return
    sam2.image_encoder = _FrameByFrame(compiled)


def _difference(expected: list[Tensor], found: list[Tensor]) -> float:
    """Largest difference between feature maps, as a share of the largest entry of each."""
    return max(float((one - other).abs().max() / one.abs().max()) for one, other in zip(expected, found, strict=True))
