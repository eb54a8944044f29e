"""How far we are from the published outputs: demanded, and kept for the table at the end of `make parity`."""

import numpy as np

DIFFERENCES: dict[tuple[str, str], tuple[float, float]] = {}  # case, quantity -> largest difference, tolerance


def within(case: str, quantity: str, difference: float, tolerance: float) -> None:
    """Demands that a difference stays within its tolerance, and keeps it for the table at the end."""
    previous, _ = DIFFERENCES.get((case, quantity), (0.0, 0.0))
    DIFFERENCES[case, quantity] = max(previous, difference), tolerance
    assert difference <= tolerance, f"{case}, {quantity}: {difference:.2e} > {tolerance:.0e}"


def largest(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest absolute difference; what is NaN in one has to be NaN in both."""
    assert ours.shape == theirs.shape
    assert np.array_equal(np.isnan(ours), np.isnan(theirs))
    difference = np.abs(ours.astype(np.float64) - theirs)
    return float(np.nanmax(difference)) if np.isfinite(difference).any() else 0.0


def thinned(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Every n-th entry of each axis from 0 on, as the goldens keep large arrays; n follows from their shape."""
    assert array.ndim == len(shape), (array.shape, shape)
    steps = [-(-size // kept) for size, kept in zip(array.shape, shape, strict=True)]
    return array[tuple(slice(None, None, step) for step in steps)]


def unpacked(packed: np.ndarray, *shape: int) -> np.ndarray:
    """Masks from packed bits, bool [N, *shape]."""
    bits = np.unpackbits(packed.reshape(-1, packed.shape[-1]), axis=1)[:, : int(np.prod(shape))]
    return bits.reshape(-1, *shape).astype(bool)


def masks_apart(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest 1 - IoU of two rows of masks, bool [N, H, W]; 0 where both are empty."""
    assert ours.shape == theirs.shape
    union, wrong = (ours | theirs).sum(axis=(1, 2)), (ours ^ theirs).sum(axis=(1, 2))
    return float(np.max(wrong / np.maximum(union, 1), initial=0.0))
