"""The model and the selector, loaded when the first video needs them."""

from __future__ import annotations

from functools import cached_property

import torch

from glus.api import GLUS, KeyFrameSelector
from glus.inference.compiled import compile_image_encoder
from glus.inference.quantised import Bits, bitsandbytes, quantise
from glus.segmenting.finished import require_model
from glus.segmenting.requests import Precision, SegmentRequest

BITS: dict[Precision, Bits] = {Precision.INT8: 8, Precision.INT4: 4}


class Models:
    """What a request loads, once for all videos."""

    def __init__(self, request: SegmentRequest) -> None:
        self._request = request
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self._bits = BITS.get(request.precision)
        self._dtype = request.precision if self._bits is None else Precision.BFLOAT16

    @property
    def compute(self) -> dict[str, str]:
        """What rounding depends on."""
        compute = {"device": self.device, "dtype": self._request.precision.value}
        return compute | {"image_encoder": "compiled"} if self._request.compiled else compute

    def require(self) -> None:
        """Checks that the folders and the library that is needed are there, before anything is loaded.

        Raises:
            InputError: a folder is not.
            GlusError: the library is not.
        """
        for folder in filter(None, (self._request.model, self._request.selector)):
            require_model(folder)
        if self._bits is not None:
            bitsandbytes()

    @cached_property
    def glus(self) -> GLUS:
        """The model."""
        model = self._read()
        if self._request.compiled:
            compile_image_encoder(model)
        return model

    def _read(self) -> GLUS:
        if self._bits is None:
            return GLUS.from_pretrained(self._request.model, dtype=self._dtype, device=self.device)
        model = GLUS.from_pretrained(self._request.model, dtype=self._dtype)
        quantise(model, self._bits, self.device)
        return model.to(self.device)

    @cached_property
    def selector(self) -> KeyFrameSelector | None:
        """What chooses key frames, where that is asked for."""
        folder = self._request.selector
        return KeyFrameSelector.from_pretrained(folder, dtype=self._dtype, device=self.device) if folder else None
