"""Two short videos, a folder of frames and a film, and masks to label them with."""

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from glus.own.videos import VideoFolder

T, WIDTH, HEIGHT = 5, 32, 24


@pytest.fixture
def footage(tmp_path) -> Path:
    """`clip/00000.jpg` ... and `film.mp4`, five frames each."""
    folder = tmp_path / "footage"
    (folder / "clip").mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 255, (T, HEIGHT, WIDTH, 3), dtype=np.uint8)
    for number, frame in enumerate(noise):
        Image.fromarray(frame).save(folder / f"clip/{number:05d}.jpg")
    with av.open(str(folder / "film.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=5, width=WIDTH, height=HEIGHT, pix_fmt="yuv420p")
        for frame in noise:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return folder


@pytest.fixture
def videos(footage) -> VideoFolder:
    return VideoFolder(footage)


@pytest.fixture
def box() -> np.ndarray:
    """Rows 2 to 5, columns 4 to 9; bool [H, W]."""
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[2:6, 4:10] = True
    return mask
