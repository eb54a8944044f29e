"""The model and the selector, loaded when the first video needs them."""

from __future__ import annotations

from functools import cached_property

import torch

from glus.api import GLUS, KeyFrameSelector
from glus.manifest import verify_where_listed
from glus.segmenting.finished import require_model
from glus.segmenting.requests import SegmentRequest


class Models:
    """What a request loads, once for all videos."""

    def __init__(self, request: SegmentRequest) -> None:
        self._request = request
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.dtype = "bfloat16" if self.device == "cuda" else "float32"

    @property
    def compute(self) -> dict[str, str]:
        """What rounding depends on."""
        return {"device": self.device, "dtype": self.dtype}

    def require(self) -> None:
        """Checks that the folders are there, before anything is loaded.

        Raises:
            InputError: one is not.
        """
        for folder in filter(None, (self._request.model, self._request.selector)):
            require_model(folder)

    @cached_property
    def glus(self) -> GLUS:
        """The model."""
        verify_where_listed(self._request.model)
        return GLUS.from_pretrained(self._request.model, dtype=self.dtype, device=self.device)

    @cached_property
    def selector(self) -> KeyFrameSelector | None:
        """What chooses key frames, where that is asked for."""
        folder = self._request.selector
        if folder is not None:
            verify_where_listed(folder)
        return KeyFrameSelector.from_pretrained(folder, dtype=self.dtype, device=self.device) if folder else None
