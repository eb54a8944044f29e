"""Scenes into pixels: antialiased shapes on a smooth background, and the mask of what stays visible of each."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.ndimage import zoom

from glus.config import SyntheticConfig
from glus.staging.synthetic.scene import Bar, Scene, SceneObject

COLOUR_VALUES = {
    "red": (215, 45, 40),
    "green": (45, 175, 60),
    "blue": (50, 75, 220),
    "yellow": (230, 205, 45),
}
GREY_VALUE = (200, 200, 200)  # above every background, so that a grey object can still be seen
BACKGROUND_MEAN = (60, 150)
BACKGROUND_CELLS = 4  # the background is interpolated from so many random values along a side
BAR_VALUES = (70, 120)  # stripes
BAR_STRIPES = 16  # stripes along a side
SQUARE_SIDE = 0.886  # half the side of a square with the area of a circle, in radii


def render(scene: Scene, config: SyntheticConfig, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draws a clip.

    Returns:
        Frames, uint8 [T, H, W, 3], and visible pixels of each object, bool [objects, T, H, W]: a pixel belongs to the
        frontmost object (or bar) that covers at least half of it.
    """
    size, num_frames = scene.size_px, scene.num_frames
    canvas = np.repeat(_background(config, rng)[None], num_frames, axis=0)
    owner = np.full((num_frames, size, size), -1, dtype=np.int8)
    grey = np.isin(np.arange(num_frames), scene.grey_frames)
    for number, item in enumerate(scene.objects):
        coverage = np.clip(0.5 - signed_distance(item, size), 0, 1)
        owner[(coverage >= 0.5) & (item.opacity > 0)[:, None, None]] = number
        values = np.where(grey[:, None], GREY_VALUE, COLOUR_VALUES[item.colour]).astype(np.float32)
        _blend(canvas, coverage * item.opacity[:, None, None], values[:, None, None])
    if scene.bar:
        coverage, stripes = _draw_bar(scene.bar, size)
        owner[:, coverage >= 0.5] = -1
        _blend(canvas, coverage[None], stripes[None])
    canvas += rng.standard_normal(canvas.shape, dtype=np.float32) * np.float32(config.noise)
    frames = np.clip(canvas.round(), 0, 255).astype(np.uint8)
    return frames, np.stack([owner == number for number in range(len(scene.objects))])


def signed_distance(item: SceneObject, size_px: int) -> np.ndarray:
    """Distance of each pixel's centre from the outline in pixels, negative inside, float32 [T, H, W]."""
    grid = np.arange(size_px, dtype=np.float32) + 0.5
    x = grid[None, None, :] - item.centres[:, 0, None, None].astype(np.float32)
    y = grid[None, :, None] - item.centres[:, 1, None, None].astype(np.float32)
    radius = np.float32(item.radius_px)
    if item.shape == "circle":
        distance = np.hypot(x, y) - radius
    elif item.shape == "square":
        distance = np.maximum(np.abs(x), np.abs(y)) - SQUARE_SIDE * radius
    else:  # base and height of two radii, apex at the top
        slope = np.float32(np.sqrt(5))
        distance = np.maximum(y - radius, (2 * np.abs(x) - y - radius) / slope)
    return distance.astype(np.float32)


def _blend(canvas: np.ndarray, coverage: np.ndarray, values: np.ndarray) -> None:
    """Lays `values` over the canvas [T, H, W, 3] where `coverage` [T, H, W] says how much."""
    weight = coverage[..., None].astype(np.float32)
    canvas += weight * (values - canvas)


def _background(config: SyntheticConfig, rng: np.random.Generator) -> np.ndarray:
    """A smooth field around one grey level, float32 [H, W, 3]."""
    cells = rng.uniform(-1, 1, (3, BACKGROUND_CELLS, BACKGROUND_CELLS))
    spread = _interpolation(config.size_px)
    field = np.moveaxis(spread @ cells @ spread.T, 0, -1)
    return (rng.uniform(*BACKGROUND_MEAN) + config.texture * field).astype(np.float32)


@cache
def _interpolation(size_px: int) -> np.ndarray:
    """Cubic interpolation from the cells to the pixels of one side, as a matrix [size_px, cells]."""
    weights = zoom(np.eye(BACKGROUND_CELLS), (size_px / BACKGROUND_CELLS, 1), order=3, mode="nearest", grid_mode=True)
    return np.asarray(weights)


def _draw_bar(bar: Bar, size_px: int) -> tuple[np.ndarray, np.ndarray]:
    """Coverage [H, W] and values [H, W, 3] of a bar with diagonal stripes."""
    centres = np.arange(size_px, dtype=np.float32) + 0.5
    across = np.clip(np.minimum(centres - bar.start_px, bar.end_px - centres) + 0.5, 0, 1)
    coverage = np.broadcast_to(across[None, :] if bar.vertical else across[:, None], (size_px, size_px))
    stripe = ((centres[None, :] + centres[:, None]) * BAR_STRIPES / size_px).astype(int) % 2
    values = np.asarray(BAR_VALUES, dtype=np.float32)[stripe]
    return coverage.astype(np.float32), np.repeat(values[..., None], 3, axis=-1)
