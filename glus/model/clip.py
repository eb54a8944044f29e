"""What both models read of a CLIP tower: patch features before its last layer."""

from __future__ import annotations

from torch import Tensor
from transformers import CLIPVisionModel


def patch_features(vision_tower: CLIPVisionModel, pixels: Tensor) -> Tensor:
    """Features of frames before the tower's last layer, without the class token: [N, 3, h, w] -> [N, patches, width].

    The last layer is not computed, and of the others nothing is kept.
    """
    hidden = vision_tower.pre_layrnorm(vision_tower.embeddings(pixels))
    for layer in vision_tower.encoder.layers[:-1]:
        hidden = layer(hidden, attention_mask=None)
    return hidden[:, 1:]
