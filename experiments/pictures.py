"""Makes the pictures of docs/images from what a finished `make demo` left: `make images`.

A picture whose sources are not there stays as it is, and what it needs is named.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

from glus.paths import FINAL_MODEL, REPORTS, SELECTOR

IMAGES = Path("docs/images")


@dataclass(frozen=True)
class Picture:
    """How a picture is made.

    Attributes:
        sources: what has to be there; without a script the picture is a copy of the first.
        script: a module of `experiments` with its arguments.
        libraries: that the script needs beside those of `make setup`.
        chromium: whether it needs Debian's browser.
    """

    sources: tuple[Path, ...]
    script: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    chromium: bool = False

    def missing(self) -> list[str]:
        """What it needs and has not."""
        missing = [str(path) for path in self.sources if not path.exists()]
        missing += [library for library in self.libraries if find_spec(library) is None]
        return [*missing, "chromium"] if self.chromium and shutil.which("chromium") is None else missing

    def make(self, target: Path) -> None:
        """Writes it."""
        if self.script:
            module, *arguments = self.script
            command = [sys.executable, "-m", f"experiments.{module}", *arguments, "--output", str(target)]
            subprocess.run(command, check=True)
        else:
            Image.open(self.sources[0]).save(target)


PICTURES = {
    "memory.png": Picture((REPORTS / "synthetic/test/overlays/memory_off.jpg",)),
    "selector.png": Picture((Path("metrics/selector.png"),)),
    "segment.png": Picture((FINAL_MODEL,), ("segment_picture",)),
    "app.png": Picture((FINAL_MODEL, SELECTOR), ("app_picture",), ("gradio", "playwright"), chromium=True),
    "ablations.png": Picture(  # after `glus ablate 4`
        (Path("ablations/table-4"), Path("mlflow.db")), ("ablations_picture", "4"), ("playwright",), chromium=True
    ),
}


def main() -> None:
    for name, picture in PICTURES.items():
        if missing := picture.missing():
            print(f"{IMAGES / name}: left as it is; it needs {', '.join(missing)}")
        else:
            picture.make(IMAGES / name)
            print(f"{IMAGES / name}: made")


if __name__ == "__main__":
    main()
