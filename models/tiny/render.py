"""Draws scenes as signed distance functions: exact edges, no image library, a few ms a clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it

from models.tiny.data import RGB, SHAPES
from models.tiny.shapes import distance
from models.tiny.tracks import Stage, Track, is_hidden

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

EDGE_WIDTH = 1.2
"""Width in pixels of the ramp that smooths an edge."""

MAX_THINGS = 2
"""Most things that a caption names."""

TOKEN_SIDE, FRAMES_PER_LATENT = 32, 4
"""Pixels of a side and frames of what one token of the transformer stands for."""

TEXTURE_GRIDS = ((3, 0.12), (7, 0.06), (16, 0.03))
"""Grids of random colours that make a texture, coarse to fine, with their deviations (of 1)."""


@dataclass(frozen=True)
class Item:
    """One shape of a scene."""

    shape: str
    rgb: RGB
    track: Track


@dataclass(frozen=True)
class Backdrop:
    """Two colours, blended along `slope` (rightwards, downwards) across the frame.

    With a `texture_seed`, random clouds of colour lie over it, as in no named background.
    """

    start: RGB
    end: RGB
    slope: tuple[float, float] = (0.0, 1.0)
    texture_seed: int | None = None


@dataclass(frozen=True)
class Scene:
    """A clip: its size and length, its background, and its shapes, the last one in front."""

    stage: Stage
    backdrop: Backdrop
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Window:
    """The part of a clip that is drawn: top left corner in pixels, and the first frame."""

    left: int = 0
    top: int = 0
    first_frame: int = 0


@dataclass(frozen=True)
class _Canvas:
    """Pixel centres `x` as `[N, 1, 1, W]` and `y` as `[N, 1, H, 1]`; frame numbers `[N, T]`."""

    x: Tensor
    y: Tensor
    frames: Tensor


def render(
    scenes: Sequence[Scene], windows: Sequence[Window] | None = None, part: Stage | None = None
) -> Tensor:
    """Draws a batch of scenes.

    Args:
        scenes: What to draw, at least one scene; without windows, all of one size and length.
        windows: The part of each clip that is wanted; without it the clips from the corner on.
        part: Size and length of the windows; without it those of the first scene.

    Returns:
        float32 `[N, 3, T, H, W]`, RGB in [-1, 1].
    """
    part = part or scenes[0].stage
    canvas = _lay_canvas(windows or [Window()] * len(scenes), part)
    video = draw_backdrops(scenes, windows, part).repeat(1, 1, part.num_frames, 1, 1)
    for layer in range(max(len(scene.items) for scene in scenes)):
        for rows, items in _group_layer(scenes, layer):
            _draw_layer(video, scenes, rows, items, canvas)
    return video.mul_(2).sub_(1)


def draw_covers(scenes: Sequence[Scene]) -> Tensor:
    """Draws where things are, in the size of a transformer's tokens.

    Args:
        scenes: Of one size and length, 32w x 32h pixels and 4k+1 frames.

    Returns:
        float32 `[N, 2, k+1, h, w]`: the share (0..1) of each token's pixels that the first and the
        second thing of a scene cover. The first latent frame stands for one frame, others for four.
    """
    stage = scenes[0].stage
    canvas = _lay_canvas([Window()] * len(scenes), stage)
    size = (stage.num_frames, stage.height, stage.width)
    covers = torch.zeros(len(scenes), MAX_THINGS, *size)
    for layer in range(MAX_THINGS):
        for rows, items in _group_layer(scenes, layer):
            time = canvas.frames[rows] / max(1, stage.num_frames - 1)
            part = _Canvas(canvas.x[rows], canvas.y[rows], canvas.frames[rows])
            covers[rows, layer] = _cover(items, part, time)
    coarse = F.avg_pool2d(covers.flatten(1, 2), TOKEN_SIDE)
    coarse = coarse.view(len(scenes), MAX_THINGS, stage.num_frames, *coarse.shape[-2:])
    shape = (len(scenes), MAX_THINGS, -1, FRAMES_PER_LATENT, *coarse.shape[-2:])
    return torch.cat([coarse[:, :, :1], coarse[:, :, 1:].reshape(shape).mean(3)], 2)


def draw_backdrops(
    scenes: Sequence[Scene], windows: Sequence[Window] | None = None, part: Stage | None = None
) -> Tensor:
    """Draws the backgrounds alone, which do not move; arguments as of `render`.

    Returns:
        float32 `[N, 3, 1, H, W]`, RGB in 0..1.
    """
    part = part or scenes[0].stage
    windows = windows or [Window()] * len(scenes)
    canvas = _lay_canvas(windows, part)
    slope = torch.tensor([scene.backdrop.slope for scene in scenes])[:, :, None, None]
    sizes = torch.tensor([(each.stage.width, each.stage.height) for each in scenes])
    across = canvas.x[:, 0] / sizes[:, 0, None, None] - 0.5
    down = canvas.y[:, 0] / sizes[:, 1, None, None] - 0.5
    blend = (0.5 + across * slope[:, 0] + down * slope[:, 1]).clamp(0, 1).unsqueeze(1)
    start = _as_colours([scene.backdrop.start for scene in scenes])[..., None, None]
    end = _as_colours([scene.backdrop.end for scene in scenes])[..., None, None]
    frame = start + (end - start) * blend
    for row, (scene, window) in enumerate(zip(scenes, windows, strict=True)):
        if scene.backdrop.texture_seed is not None:
            clouds = _draw_texture(scene.backdrop.texture_seed, scene.stage)
            rows = slice(window.top, window.top + part.height)
            frame[row] += clouds[:, rows, window.left : window.left + part.width]
    return frame.clamp(0, 1).unsqueeze(2)


def _lay_canvas(windows: Sequence[Window], part: Stage) -> _Canvas:
    return _Canvas(
        x=_count([each.left for each in windows], part.width).view(-1, 1, 1, part.width) + 0.5,
        y=_count([each.top for each in windows], part.height).view(-1, 1, part.height, 1) + 0.5,
        frames=_count([each.first_frame for each in windows], part.num_frames),
    )


def _group_layer(scenes: Sequence[Scene], layer: int) -> Iterator[tuple[list[int], list[Item]]]:
    """Yields the rows of scenes whose item in a layer has the same shape, with these items."""
    for shape in SHAPES:
        rows = [
            row
            for row, scene in enumerate(scenes)
            if len(scene.items) > layer and scene.items[layer].shape == shape
        ]
        if rows:
            yield rows, [scenes[row].items[layer] for row in rows]


def _draw_layer(
    video: Tensor, scenes: Sequence[Scene], rows: list[int], items: list[Item], canvas: _Canvas
) -> None:
    """Draws items of one layer and one shape, in place."""
    index = torch.tensor(rows)
    ends = torch.tensor([max(1, scenes[row].stage.num_frames - 1) for row in rows])
    part = _Canvas(canvas.x[index], canvas.y[index], canvas.frames[index])
    cover = _cover(items, part, part.frames / ends[:, None]).unsqueeze(1)
    colour = _as_colours([item.rgb for item in items])[..., None, None, None]
    video[index] = torch.lerp(video[index], colour.expand(-1, -1, *cover.shape[2:]), cover)


def _draw_texture(seed: int, stage: Stage) -> Tensor:
    """Returns smooth noise `[3, H, W]` about 0, finer and fainter layers over coarse ones."""
    generator = torch.Generator("cpu").manual_seed(seed)
    size = (stage.height, stage.width)
    clouds = torch.zeros(1, 3, *size, device="cpu")
    for grid, deviation in TEXTURE_GRIDS:
        coarse = torch.randn(1, 3, grid, grid, generator=generator, device="cpu")
        clouds += F.interpolate(coarse, size, mode="bicubic") * deviation
    return clouds[0].to(torch.get_default_device())


def _cover(items: Sequence[Item], canvas: _Canvas, time: Tensor) -> Tensor:
    """Returns how much of each pixel each item covers: `[N, T, H, W]` in 0..1."""
    tracks = [item.track for item in items]
    orbit, phase, hop, spin = (
        torch.tensor([getattr(track, name) for track in tracks]).view(-1, 1)
        for name in ("orbit", "phase", "hop", "spin")
    )
    centre_x = _between([t.start[0] for t in tracks], [t.end[0] for t in tracks], time)
    centre_y = _between([t.start[1] for t in tracks], [t.end[1] for t in tracks], time)
    turn = phase + torch.pi * 2 * time
    centre_x = centre_x + orbit * turn.cos()
    centre_y = centre_y + orbit * turn.sin() - hop * (torch.pi * 2 * time).sin().abs()
    radius = _between([t.start_radius for t in tracks], [t.end_radius for t in tracks], time)
    x, y = canvas.x - centre_x[..., None, None], canvas.y - centre_y[..., None, None]
    angle = (spin * time)[..., None, None]
    radius = radius[..., None, None]
    turned_x = (x * angle.cos() + y * angle.sin()) / radius
    turned_y = (y * angle.cos() - x * angle.sin()) / radius
    outside: Tensor = distance(items[0].shape, turned_x, turned_y) * radius
    cover = (0.5 - outside / EDGE_WIDTH).clamp(0, 1)
    return cover * _visible(tracks, canvas.frames)


def _visible(tracks: Sequence[Track], frames: Tensor) -> Tensor:
    """Returns 0 where a blinking item is hidden and else 1: `[N, T, 1, 1]`."""
    is_blinking = torch.tensor([[track.is_blinking] for track in tracks])
    is_seen: Tensor = ~(is_blinking & is_hidden(frames))
    return is_seen.float()[..., None, None]


def _count(starts: list[int], length: int) -> Tensor:
    """Returns `[N, length]` integers that count up from each start."""
    return torch.tensor(starts)[:, None] + torch.arange(length)


def _between(start: list[float], end: list[float], time: Tensor) -> Tensor:
    first = torch.tensor(start, dtype=torch.float32).view(-1, 1)
    last = torch.tensor(end, dtype=torch.float32).view(-1, 1)
    return first + (last - first) * time


def _as_colours(colours: Sequence[RGB]) -> Tensor:
    return torch.tensor(colours, dtype=torch.float32).div(255)
