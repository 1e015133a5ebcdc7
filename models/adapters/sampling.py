"""The mode of a batch put in force on a pipeline, and taken back whatever happens.

A step cache lives on the transformer, a schedule on the scheduler; both belong to all pipelines
that share them, so nothing of a mode may outlast its batch.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog
import torch
from diffusers import FirstBlockCacheConfig, TaylorSeerCacheConfig
from diffusers.models.attention_dispatch import attention_backend

from models.adapters.denoisers import blocks_compiled, last_block, transformers_of
from models.adapters.guidance import guidance_fused
from models.adapters.lora import loras_in_force
from models.modes import Mode, StepCache

log = structlog.stdlib.get_logger(__name__)

SHIFTS = ("flow_shift", "shift")
"""What schedulers call the shift of their noise schedule."""

UNSHIFTED = {"shift": 1.0, "use_dynamic_shifting": False, "shift_terminal": None}
"""What schedulers would do with a schedule that they are given, undone."""


@dataclass
class SkipMeter:
    """Counts how often transformers were called, and how often their last block really computed."""

    calls: int = 0
    computed: int = 0
    _handles: list[Any] = field(default_factory=list)

    @property
    def skipped(self) -> int:
        """Calls that a step cache answered without the last block."""
        return self.calls - self.computed

    def watch(self, transformer: torch.nn.Module) -> None:
        """Count from now on."""
        # Caches replace the forward of blocks; the layers inside a block run only when it computes.
        layer = next(
            part for part in last_block(transformer).modules() if isinstance(part, torch.nn.Linear)
        )
        self._handles += [
            transformer.register_forward_pre_hook(self._count_call),
            layer.register_forward_pre_hook(self._count_computed),
        ]

    def stop(self) -> None:
        """Leave no trace on what was watched."""
        for handle in self._handles:
            handle.remove()

    def _count_call(self, *_: object) -> None:
        self.calls += 1

    def _count_computed(self, *_: object) -> None:
        self.computed += 1


@contextmanager
def mode_in_force(
    pipe: Any,  # noqa: ANN401 -- diffusers is untyped
    mode: Mode,
    *,
    on_gpu: bool,
    fuse_guidance: bool = False,
) -> Iterator[SkipMeter]:
    """Sample in `mode` inside the block.

    `mode.attention` and `mode.compile` matter `on_gpu` only: a CPU has one way of computing
    attention, and a compiler of C++ is not on every machine. A step cache decides for each of the
    two calls of guidance, so with one they are not fused; without one there is nothing to count.
    """
    meter = SkipMeter()
    with ExitStack() as stack:
        if mode.flow_shift is not None:
            stack.callback(setattr, pipe, "scheduler", pipe.scheduler)
            pipe.scheduler = shifted(pipe.scheduler, mode.flow_shift)
        if mode.sigmas is not None:
            stack.callback(setattr, pipe, "scheduler", pipe.scheduler)
            pipe.scheduler = verbatim(pipe.scheduler)
        stack.enter_context(loras_in_force(pipe, mode))
        if mode.attention is not None and on_gpu:
            stack.enter_context(attention_backend(mode.attention))
        stack.callback(meter.stop)
        for transformer in transformers_of(pipe):
            if mode.compile is not None and on_gpu:
                stack.enter_context(blocks_compiled(transformer, mode.compile))
            if fuse_guidance and mode.cache is None:
                stack.enter_context(guidance_fused(transformer))
            if mode.cache is not None:
                # Only here: a hook inside a compiled block would be compiled too.
                meter.watch(transformer)
                transformer.enable_cache(cache_config(mode.cache))
                stack.callback(transformer.disable_cache)
        yield meter


def report_skips(meter: SkipMeter, mode: Mode, **about: object) -> None:
    """Log what a step cache saved; a warning where it saved nothing, for then it costs only."""
    if mode.cache is None:
        return
    say = log.info if meter.skipped else log.warning
    say("step_cache", kind=mode.cache.kind, skipped=meter.skipped, calls=meter.calls, **about)


def cache_config(cache: StepCache) -> FirstBlockCacheConfig | TaylorSeerCacheConfig:
    """As diffusers wants it.

    Lite, because the full kind matches no module of most video transformers (diffusers 0.42) and
    would skip nothing without a word.
    """
    if cache.kind == "first_block":
        return FirstBlockCacheConfig(threshold=cache.threshold)
    return TaylorSeerCacheConfig(
        cache_interval=cache.interval,
        disable_cache_before_step=cache.warmup_steps,
        use_lite_mode=True,
    )


def shifted(scheduler: Any, shift: float) -> Any:  # noqa: ANN401 -- diffusers is untyped
    """A scheduler like `scheduler` with another shift.

    Raises:
        ValueError: it has none.
    """
    for name in SHIFTS:
        if name in scheduler.config:
            return type(scheduler).from_config(scheduler.config, **{name: shift})
    raise ValueError(f"{type(scheduler).__name__} has no flow_shift")


def verbatim(scheduler: Any) -> Any:  # noqa: ANN401 -- diffusers is untyped
    """A scheduler like `scheduler` that walks the sigmas it is given as they are.

    That of LTX-2 would shift those of its own distilled weights by the size of the clip.
    """
    plain = {name: value for name, value in UNSHIFTED.items() if name in scheduler.config}
    return type(scheduler).from_config(scheduler.config, **plain)
