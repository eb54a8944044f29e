"""How far we are from the published outputs: demanded, and kept for the table at the end of `make parity`."""

DIFFERENCES: dict[tuple[str, str], tuple[float, float]] = {}  # case, quantity -> largest difference, tolerance


def within(case: str, quantity: str, difference: float, tolerance: float) -> None:
    """Demands that a difference stays within its tolerance, and keeps it for the table at the end."""
    previous, _ = DIFFERENCES.get((case, quantity), (0.0, 0.0))
    DIFFERENCES[case, quantity] = max(previous, difference), tolerance
    assert difference <= tolerance, f"{case}, {quantity}: {difference:.2e} > {tolerance:.0e}"
