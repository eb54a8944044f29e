"""Pictures within a page."""

from __future__ import annotations

import base64


def data_uri(jpeg: bytes) -> str:
    """The bytes of a JPEG as an address that holds them."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}"
