"""Any renderer with its frames raised to the rate and the size asked for, as its card offers.

The renderer sees the spec that it can make itself; interpolation and upscaling happen while its
frames are read, so a cancel is heard between two frames and memory stays that of a few.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from itertools import islice
from typing import cast

import torch

from models.assets.manifest import FILES
from models.card import ModelCard
from models.enhance.interpolate import Interpolator
from models.enhance.networks import INTERPOLATOR, UPSCALERS, open_interpolator, open_upscaler
from models.enhance.stream import raise_clip
from models.enhance.upscale import Upscaler, upscale
from models.pipeline import Clip, Frame, NamedRenderer, OutOfMemory, StepCallback, VideoPipeline
from models.spec import VideoSpec


class EnhancedPipeline:
    """A `VideoPipeline` round `inner`.

    Its own networks are loaded when a job first needs them: a machine that lacks their files
    still renders what needs none.
    """

    def __init__(self, inner: VideoPipeline) -> None:
        self._inner = inner
        self._card: ModelCard | None = None
        self._device = ""
        self._interpolator: Interpolator | None = None
        self._upscalers: dict[int, Upscaler] = {}

    @property
    def memory_bytes(self) -> int:
        """What the renderer takes and all that its card may ask of ours."""
        if self._card is None:
            return self._inner.memory_bytes
        offer = self._card.enhance
        names = [*([INTERPOLATOR] if offer.fps else [])]
        names += [UPSCALERS[offer.network].weights] if offer.upscale else []
        return self._inner.memory_bytes + sum(FILES[name].size_bytes for name in names)

    def load(self, card: ModelCard, device: str) -> None:
        """Load the renderer. See `VideoPipeline`."""
        self._inner.load(card, device)
        self._card, self._device = card, device

    def generate(
        self, specs: Sequence[VideoSpec], on_step: StepCallback, *, low_memory: bool = False
    ) -> Sequence[Clip]:
        """Render `specs` as the model makes them, and raise their frames as they are read.

        Raises:
            LoadFailed: the files of a network that is needed have not been fetched.
        """
        # Not every renderer knows of the preset.
        preset = {"low_memory": True} if low_memory else {}
        return self._enhance(
            specs, lambda natives: self._inner.generate(natives, on_step, **preset)
        )

    def _enhance(
        self,
        specs: Sequence[VideoSpec],
        render: Callable[[Sequence[VideoSpec]], Sequence[Clip]],
    ) -> Sequence[Clip]:
        card = self._card
        if card is None:
            raise RuntimeError("load() comes before generate()")
        for spec in specs:
            card.check(spec)
        natives = [card.native(spec) for spec in specs]
        # Before the renderer works for nothing.
        for spec, native in zip(specs, natives, strict=True):
            self._prepare(card, spec, native)
        clips = render(natives)
        return [self._raise(card, *each) for each in zip(clips, natives, specs, strict=True)]

    def _prepare(self, card: ModelCard, spec: VideoSpec, native: VideoSpec) -> None:
        if spec.fps != native.fps and self._interpolator is None:
            self._interpolator = open_interpolator(self._device)
        factor = spec.width // native.width
        if factor > 1 and factor not in self._upscalers:
            name = card.enhance.network
            self._upscalers[factor] = open_upscaler(name, factor, self._device)

    def _raise(self, card: ModelCard, clip: Clip, native: VideoSpec, spec: VideoSpec) -> Clip:
        if (spec.fps, spec.size) == (native.fps, native.size):
            return clip
        factor = spec.width // native.width
        raised = raise_clip(
            clip,
            Fraction(spec.fps),
            between=self._interpolator.between if self._interpolator else None,
            enlarge=partial(upscale, self._upscalers[factor]) if factor > 1 else None,
            last_lasts=card.num_frames.offset == 0,
        )
        # The last frame of the model may reach beyond the end that was asked for.
        num_frames = min(raised.num_frames or spec.num_frames, spec.num_frames)
        frames = _memory_errors_named(_first(raised.frames, num_frames))
        return replace(raised, frames=frames, num_frames=num_frames)


class EnhancedNamed(EnhancedPipeline):
    """Round a `NamedRenderer`, which goes on being told the names of its jobs."""

    def generate_named(
        self, names: Sequence[str], specs: Sequence[VideoSpec], on_step: StepCallback
    ) -> Sequence[Clip]:
        """As `generate`; see `NamedRenderer`."""
        inner = cast("NamedRenderer", self._inner)
        return self._enhance(specs, lambda natives: inner.generate_named(names, natives, on_step))


def enhanced(inner: VideoPipeline) -> EnhancedPipeline:
    """`inner` with its frames raised; named where `inner` is."""
    return (EnhancedNamed if isinstance(inner, NamedRenderer) else EnhancedPipeline)(inner)


def _first(frames: Iterator[Frame], count: int) -> Iterator[Frame]:
    """The first `count`; then the rest is read too, for a renderer may have work at its end."""
    yield from islice(frames, count)
    for _ in frames:
        pass


def _memory_errors_named(frames: Iterator[Frame]) -> Iterator[Frame]:
    try:
        yield from frames
    except (torch.OutOfMemoryError, MemoryError):
        raise OutOfMemory("not enough memory to enhance a frame") from None
