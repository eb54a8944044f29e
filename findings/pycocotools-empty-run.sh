#!/usr/bin/env bash
# pycocotools 2.0.11: `merge` and `iou` end at the place where both masks have a run of length 0, without an error.
# A run of length 0 is valid: it joins two runs of one value, as writers of run lengths make them at seams.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q --disable-pip-version-check pycocotools==2.0.11 numpy==2.4.6
"$work/env/bin/python" - <<'PY'
from pycocotools import mask

# 10 x 10 pixels; the pixels 5 to 19 and 5 to 23 in column order, each with an empty run after the tenth pixel
masks = mask.frPyObjects([{"size": [10, 10], "counts": counts} for counts in ([5, 10, 0, 5, 80], [5, 10, 0, 9, 76])], 10, 10)
first, second = (mask.decode(item).astype(bool) for item in masks)
union, shared = int((first | second).sum()), int((first & second).sum())
seen = int(mask.area(mask.merge(masks))), int(mask.area(mask.merge(masks, intersect=True))), float(mask.iou(masks[:1], masks[1:], [0])[0, 0])
print(f"decoded: union {union}, intersection {shared}, IoU {shared / union:.4f}")
print(f"by merge and iou: union {seen[0]}, intersection {seen[1]}, IoU {seen[2]:.4f}")
assert (union, shared) == (19, 15)
assert seen == (10, 10, 1.0), "changed: look whether run lengths can be given to merge now"
PY
