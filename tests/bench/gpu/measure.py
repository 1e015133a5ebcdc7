"""One way of sampling, timed: steps, decoding, the whole clip, memory, arithmetic.

Times are of finished work: the device is waited for after the first step, after the last, and when
the frames lie in host memory. Encoding a file is not part of it; see `./run bench pipeline`.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from models.adapters.sampling import SkipMeter
from models.adapters.wan import WanAdapter
from models.card import ModelCard
from models.pipeline import Frame
from models.spec import Kind, Stage
from tests.bench.gpu.workloads import GUIDANCE, Profile, Workload

PROMPT = "a red fox runs through fresh snow at dawn, seen from the side"
CEILING_REPEATS = 20


@dataclass(frozen=True)
class Figures:
    """What a clip takes.

    Attributes:
        step_s: of one denoising step after the first, divided by the clips of a call.
        decode_s: from the last step to the last frame in host memory.
        clip_s: from the prompt to the last frame.
        peak_bytes: the most that was allocated on the device; None on a CPU.
        flop_per_s: arithmetic of matrix products and attention in the steps, as computed.
        skipped: transformer calls that a step cache answered, of those after the first step.
        warm_up_s: the first call, with whatever is compiled in it.
    """

    step_s: float
    decode_s: float
    clip_s: float
    peak_bytes: int | None
    flop_per_s: float
    skipped: float
    warm_up_s: float


class Watch:
    """Marks of one call: its begin, its first and last step, its end."""

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)
        self.marks: list[float] = []

    def mark(self) -> None:
        """Now, with everything before it done."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self.marks.append(time.perf_counter())

    def step(self, done: int, total: int) -> None:
        """After a step; those between the first and the last are not waited for."""
        if done in (1, total):
            self.mark()


Render = Callable[[int, Watch], None]
"""Renders with so many steps, marking them."""


def plain_render(pipe: Any, workload: Workload, device: str) -> Render:
    """The stock call of diffusers, frames as it returns them."""
    width, height = map(int, workload.size.split("x"))

    def render(num_steps: int, watch: Watch) -> None:
        def on_step(_pipe: Any, index: int, _time: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            watch.step(index + 1, num_steps)
            return tensors

        pipe(
            prompt=PROMPT,
            width=width,
            height=height,
            num_frames=workload.num_frames,
            num_inference_steps=num_steps,
            guidance_scale=GUIDANCE,
            generator=torch.Generator(device).manual_seed(0),
            callback_on_step_end=on_step,
            output_type="np",
        )

    return render


def our_render(adapter: WanAdapter, card: ModelCard, profile: Profile) -> Render:
    """What a worker does with `profile.batch` jobs of `card`, up to their frames."""
    spec = card.example(
        kind=Kind.TEXT_TO_VIDEO,
        mode=card.default_mode,
        size=card.sizes[0],
        fps=card.fps[0],
        seconds=card.seconds[0],
        prompt=PROMPT,
    )

    def render(num_steps: int, watch: Watch) -> None:
        def on_step(stage: Stage, done: int, total: int, /, previews: Sequence[Frame] = ()) -> None:
            del previews
            if stage is Stage.DENOISING:
                watch.step(done, total)

        specs = [
            spec.model_copy(update={"seed": seed, "num_inference_steps": num_steps})
            for seed in range(profile.batch)
        ]
        for clip in adapter.generate(specs, on_step):
            for _frame in clip.frames:
                pass

    return render


def measure(
    pipe: Any, render: Render, profile: Profile, flop: int, device: str, rounds: int
) -> Figures:
    """Time `render`, the median of `rounds` after one call to warm up.

    `flop`: of one step with one clip, all of it computed.
    """
    num_steps = profile.mode.num_inference_steps
    warm_up_s = _timed(render, min(num_steps, 4), device)[-1]
    is_cuda = torch.device(device).type == "cuda"
    if is_cuda:
        torch.cuda.reset_peak_memory_stats(device)
    meter = SkipMeter()
    with ExitStack() as stack:
        stack.callback(meter.stop)
        if profile.mode.cache is not None:
            # Watched only where it matters: hooks inside a compiled block would be compiled too.
            meter.watch(pipe.transformer)
        taken = [_timed(render, num_steps, device) for _ in range(rounds)]
    step_s, decode_s, clip_s = (
        statistics.median(column) / profile.batch for column in zip(*taken, strict=True)
    )
    # No cache skips anything in the first step, which is not timed either.
    skipped = meter.skipped / max(1.0, meter.calls * (1 - 1 / num_steps))
    return Figures(
        step_s=step_s,
        decode_s=decode_s,
        clip_s=clip_s,
        peak_bytes=torch.cuda.max_memory_allocated(device) if is_cuda else None,
        flop_per_s=flop * (1 - skipped) / step_s,
        skipped=skipped,
        warm_up_s=warm_up_s,
    )


def _timed(render: Render, num_steps: int, device: str) -> tuple[float, float, float]:
    """Seconds of a step, of decoding, of all."""
    watch = Watch(device)
    watch.mark()
    render(num_steps, watch)
    watch.mark()
    began, first, last, ended = watch.marks
    return (last - first) / (num_steps - 1), ended - last, ended - began


def count_flop(pipe: Any, render: Render, device: str) -> int:
    """Operations of one call of the transformer with one clip: products and attention."""
    calls: list[dict[str, Any]] = []
    hook = pipe.transformer.register_forward_pre_hook(
        lambda _module, _args, given: calls.append(given) if not calls else None, with_kwargs=True
    )
    try:
        render(2, Watch(device))
    finally:
        hook.remove()
    return flop_of(pipe.transformer, calls[0])


def flop_of(transformer: torch.nn.Module, arguments: dict[str, Any]) -> int:
    """Operations of one call with `arguments`."""
    # PyTorch counts every way to attend but that of CPUs.
    more = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flop}
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=more) as counter:
        transformer(**arguments)
    return int(counter.get_total_flops())


def _attention_flop(
    query: torch.Size, key: torch.Size, value: torch.Size, *_: object, **__: object
) -> int:
    return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call]


def measure_ceiling(device: str, side: int) -> float:
    """Operations a second of a product of two bfloat16 matrices of `side`, the best of three."""
    one, other = (torch.randn(side, side, device=device).bfloat16() for _ in range(2))
    best = 0.0
    for _ in range(3):
        watch = Watch(device)
        watch.mark()
        for _ in range(CEILING_REPEATS):
            one @ other
        watch.mark()
        best = max(best, CEILING_REPEATS * 2 * side**3 / (watch.marks[1] - watch.marks[0]))
    return best
