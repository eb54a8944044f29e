"""The colours of everything that people look at: overlays, charts, pages and the app take them from here."""

from __future__ import annotations

from colorsys import hsv_to_rgb

Colour = tuple[int, int, int]

# Apart from each other, and from the plain red, green, blue and yellow of the synthetic clips.
COLOURS: tuple[Colour, ...] = (
    (232, 42, 148),
    (0, 184, 217),
    (255, 139, 0),
    (124, 77, 255),
    (0, 200, 130),
    (190, 120, 60),
)
LINES = ("-", "--", ":", "-.")  # kinds of lines beside the colours, for black and white
GOLDEN_ANGLE = 0.381966  # of a turn
TRUTH_COLOUR: Colour = (255, 255, 255)
INK: Colour = (28, 32, 41)
FAINT: Colour = (92, 99, 112)  # text on paper or ground: above 4.5 to 1 (WCAG AA), as good, bad and unsure
PAPER: Colour = (255, 255, 255)
GROUND: Colour = (246, 247, 249)
LINE: Colour = (217, 220, 226)
GOOD: Colour = (10, 107, 69)
BAD: Colour = (179, 38, 30)
UNSURE: Colour = (138, 79, 0)


def colour_of(number: int) -> Colour:
    """A colour for each number: those above, then hues that lie apart by the golden angle."""
    if number < len(COLOURS):
        return COLOURS[number]
    red, green, blue = hsv_to_rgb(number * GOLDEN_ANGLE % 1, 0.6 + 0.3 * (number % 2), 0.9)
    return round(255 * red), round(255 * green), round(255 * blue)


def hex_colour(colour: Colour) -> str:
    """A colour as matplotlib and CSS write it."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def css_variables() -> str:
    """The colours as custom properties of CSS; `accent` is that of the first sentence."""
    named = {
        "ink": INK,
        "faint": FAINT,
        "paper": PAPER,
        "ground": GROUND,
        "line": LINE,
        "good": GOOD,
        "bad": BAD,
        "unsure": UNSURE,
        "accent": COLOURS[0],
    }
    return ":root { " + " ".join(f"--{name}: {hex_colour(colour)};" for name, colour in named.items()) + " }"
