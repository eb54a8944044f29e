"""Windows of a pass: every step is answered once, by a window that ends with it or holds it among its newest."""

from hypothesis import given
from hypothesis import strategies as st

from glus.inference.windows import Window, plan_windows


@given(num_steps=st.integers(1, 60), length=st.integers(1, 6), stride=st.integers(1, 6), apart=st.booleans())
def test_every_step_is_answered_once(num_steps: int, length: int, stride: int, apart: bool) -> None:
    windows = list(plan_windows(num_steps, length, min(stride, length), apart=apart))
    answered = [step for window in windows for step in range(window.end - window.answers, window.end)]
    assert answered == list(range(num_steps))
    assert all(window.first >= 0 and window.answers <= len(window) <= length for window in windows)
    assert all(len(window) == min(window.end, length) for window in windows)


def test_the_papers_windows() -> None:
    apart = list(plan_windows(6, 4, 1, apart=True))
    assert apart == [
        Window(0, 1, 1),
        Window(0, 2, 1),
        Window(0, 3, 1),
        Window(0, 4, 1),
        Window(1, 5, 1),
        Window(2, 6, 1),
    ]
    assert list(plan_windows(6, 4, 1, apart=False)) == [Window(0, 4, 4), *apart[4:]]


def test_strides_and_ends() -> None:
    assert list(plan_windows(9, 4, 4, apart=False)) == [Window(0, 4, 4), Window(4, 8, 4), Window(5, 9, 1)]
    assert list(plan_windows(7, 4, 2, apart=False)) == [Window(0, 4, 4), Window(2, 6, 2), Window(3, 7, 1)]
    assert list(plan_windows(2, 4, 4, apart=False)) == [Window(0, 2, 2)]
