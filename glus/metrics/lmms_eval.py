"""What lmms-eval's `rvos_*` tasks report beside J and F (EvolvingLMMs-Lab/lmms-eval, tasks/rvos/eval_sam2.py)."""

from __future__ import annotations

import numpy as np

from glus.metrics.region import jaccard_of_overlaps
from glus.metrics.spans import Clip, Spans, count_overlaps

NAME = "lmms_eval"
ALPHAS = np.arange(0.05, 1.0, 0.05)


def measures(pred: Spans, gt: Spans, clip: Clip, missing: np.ndarray) -> dict[str, float]:
    """`lmms_HOTA`: the root of the detection accuracy at each IoU from 0.05 to 0.95, averaged; 0..1.

    With one track on either side there is nothing to associate, and HOTA's association accuracy is left out.

    Args:
        missing: bool [T], frames that count as detected wrongly.
    """
    overlaps = count_overlaps(pred, [gt], clip)
    iou = jaccard_of_overlaps(overlaps)
    visible, answered = overlaps[:, :, 1].sum(axis=1) > 0, overlaps[:, 1].sum(axis=1) > 0
    roots = []
    for alpha in ALPHAS:
        hits = visible & answered & (iou >= alpha)
        misses, alarms = visible & ~hits, (answered | missing) & ~hits
        counted = hits.sum() + misses.sum() + alarms.sum()
        roots.append(np.sqrt(hits.sum() / counted) if counted else 1.0)
    return {"lmms_HOTA": float(np.mean(roots))}
