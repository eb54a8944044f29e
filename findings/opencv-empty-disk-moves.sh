#!/usr/bin/env bash
# opencv-python 5.0.0.93: dilation with a structuring element that has no pixel moves the picture by a row and a column.
# scikit-image's `disk` makes such elements of radii below 0.586, so scorers that take 0.008 of the diagonal as the radius
# meet them in frames with a diagonal below 73 px. SciPy's dilation with the same element is empty.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q --disable-pip-version-check opencv-python-headless==5.0.0.93 scikit-image==0.26.0 numpy==2.4.6
"$work/env/bin/python" - <<'PY'
import cv2
import numpy as np
from scipy.ndimage import binary_dilation
from skimage.morphology import disk

picture = np.zeros((9, 9), np.uint8)
picture[4, 4] = 1
seen = {}
for radius in (0.4, 0.58, 0.6):
    element = disk(radius)
    pixels = np.argwhere(cv2.dilate(picture, element)).tolist()
    seen[radius] = int(element.sum()), pixels, int(binary_dilation(picture, element).sum())
    print(f"radius {radius}: a disk of {seen[radius][0]} pixels makes {pixels} of (4, 4); SciPy makes {seen[radius][2]} pixels")
moved = 0, [[5, 5]], 0
assert seen == {0.4: moved, 0.58: moved, 0.6: (1, [[4, 4]], 1)}, "changed: look at glus/metrics/boundary.py"
PY
