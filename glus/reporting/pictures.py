"""Pictures within a page."""

from __future__ import annotations

import base64


def data_uri(content: bytes, kind: str = "image/jpeg") -> str:
    """The bytes of a picture, a JPEG unless said otherwise, as an address that holds them."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
