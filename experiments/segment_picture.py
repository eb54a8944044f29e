"""Makes the README's picture of `glus segment`: a generated clip as a film, sentences, the trained default model.

Run from the project's root after `make demo`: `.venv/bin/python -m experiments.segment_picture`.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import av
import numpy as np
from PIL import Image

from glus.config import load_config
from glus.media.sources import open_frames
from glus.paths import FINAL_MODEL
from glus.pipeline.artifacts import open_split
from glus.processing.staged_frames import staged_frames
from glus.records.split import StagedSplit
from glus.records.video import Video

SPLIT, FAMILY, RATE = "synthetic/test", "appearance", 10
CLIP, BESIDE = 3, "the blue circle"  # two objects that touch
SIZE_PX, SHOWN, GAP_PX = 256, 5, 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clip", type=int, default=CLIP, help="which of the clips with a sentence about looks")
    parser.add_argument("-e", "--expression", default=BESIDE, help="a second sentence")
    parser.add_argument("--output", type=Path, default=Path("docs/images/segment.png"))
    options = parser.parse_args()
    split = open_split(load_config(), SPLIT)
    video, sentence = clips(split)[options.clip]
    sentences = [sentence, options.expression]
    with tempfile.TemporaryDirectory() as folder:
        film, result = Path(folder) / "clip.mp4", Path(folder) / "out"
        write_film(split, video, film)
        asked = [word for sentence in sentences for word in ("-e", sentence)]
        command = [sys.executable, "-m", "glus", "segment", film, *asked, "--model", FINAL_MODEL, "-o", result]
        subprocess.run([str(word) for word in command], check=True)
        draw(result / "overlay.mp4", options.output)
    print(f"{options.output}: {' / '.join(sentences)}")


def clips(split: StagedSplit) -> list[tuple[Video, str]]:
    """Clips with a sentence about how an object looks."""
    expressions = (item for items in split.expressions.values() for item in items if item.family == FAMILY)
    return [(split.videos[item.video_id], item.text) for item in expressions]


def write_film(split: StagedSplit, video: Video, path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=RATE, width=SIZE_PX, height=SIZE_PX, pix_fmt="yuv420p")
        stream.bit_rate = 8_000_000  # the noise is to be seen, not the encoder
        for picture in staged_frames(split, video):
            larger = picture.resize((SIZE_PX, SIZE_PX), Image.Resampling.BICUBIC)
            container.mux(stream.encode(av.VideoFrame.from_image(larger)))
        container.mux(stream.encode())


def draw(overlay: Path, path: Path) -> None:
    """Frames of the overlay video side by side."""
    frames = open_frames(overlay)
    chosen = np.linspace(0, len(frames) - 1, SHOWN).round().astype(int)
    width = SHOWN * (SIZE_PX + GAP_PX) - GAP_PX
    strip = Image.new("RGB", (width, SIZE_PX), "white")
    for column, index in enumerate(chosen.tolist()):
        strip.paste(frames[index], (column * (SIZE_PX + GAP_PX), 0))
    strip.save(path)


if __name__ == "__main__":
    main()
