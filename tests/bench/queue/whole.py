"""The real system with the small model and a warm worker: idling, single jobs, batches.

The plain side is the stock diffusers pipeline in this process: same checkpoint, steps and prompt
padding, one prompt after the other, no video file written. The two sides take turns.
"""

import os
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openai import OpenAI

from models.tiny.samplers import CHECKPOINT, arguments_for, load_pipelines
from models.tiny.tracks import USUAL_STAGE
from tests.bench.queue.idle import IdleFigures, measure_idle
from tests.support.stack import is_over, roomy_configs, running_stack, sdk_of

PROMPT = "a red circle moving right on a black background"
LOOK_EVERY_S = 0.01
LOOK_AT_MANY_EVERY_S = 0.2
"""Looking costs the gateway time too, which single jobs leave it and many at once do not."""

PATIENCE_S = 300.0
WARM_UP = 2


@dataclass(frozen=True)
class FinishFigures:
    """Seconds of single jobs, one after the other, and the same clip from plain diffusers.

    Attributes:
        total_s: from the submit until the gateway says `completed`, the MP4 in its store.
        render_s: as the worker measured it, from the claim to the finished MP4.
    """

    total_s: list[float]
    render_s: list[float]
    plain_s: list[float]

    @property
    def overhead_s(self) -> float:
        """Median of what comes on top of the worker's own time."""
        pairs = zip(self.total_s, self.render_s, strict=True)
        return statistics.median(total - render for total, render in pairs)

    @property
    def limit_s(self) -> float:
        """The target: 5 % of the worker's time, or 150 ms where that is more."""
        return max(0.05 * statistics.median(self.render_s), 0.15)

    def lines(self) -> list[str]:
        """The table."""
        total, render, plain = map(statistics.median, (self.total_s, self.render_s, self.plain_s))
        limit = f"(limit {self.limit_s * 1000:.0f})"
        return [
            f"{len(self.total_s)} single jobs             ms",
            f"  submit to MP4      {total * 1000:8.0f}",
            f"  of it the worker   {render * 1000:8.0f}  claim to finished MP4, encoding included",
            f"  on top of it       {self.overhead_s * 1000:8.0f}  {limit}",
            f"  plain diffusers    {plain * 1000:8.0f}  no MP4 written",
        ]


@dataclass(frozen=True)
class BatchFigures:
    """Seconds per video of `num_jobs` that are submitted at once; one value a round."""

    num_jobs: int
    ours_s: list[float]
    plain_s: list[float]

    @property
    def gain(self) -> float:
        """How many times more videos a second than plain diffusers; median over rounds."""
        pairs = zip(self.plain_s, self.ours_s, strict=True)
        return statistics.median(plain / ours for plain, ours in pairs)

    def lines(self) -> list[str]:
        """The table."""
        ours, plain = statistics.median(self.ours_s), statistics.median(self.plain_s)
        return [
            f"{self.num_jobs} jobs at once    videos/s",
            f"  through the worker {1 / ours:8.2f}  x{self.gain:.2f}",
            f"  plain diffusers    {1 / plain:8.2f}",
        ]


@dataclass(frozen=True)
class WholeFigures:
    """Everything that was measured on one running system."""

    idle: IdleFigures
    finish: FinishFigures
    batch: BatchFigures


def measure_whole(
    folder: Path, *, num_single: int, rounds: int, batch_jobs: int, idle_s: float
) -> WholeFigures:
    """Start a system under `folder` and measure it."""
    plain = load_pipelines(CHECKPOINT)[0]
    with (
        _configured(folder / "configs"),
        running_stack(folder / "data") as stack,
        sdk_of(stack) as client,
    ):
        for _ in range(WARM_UP):
            _run_jobs(client, 1)
            _run_plain(plain, 1)
        idle = measure_idle(stack, folder, idle_s)
        finish = _measure_finish(client, plain, num_single)
        batch = _measure_batch(client, plain, rounds, batch_jobs)
    return WholeFigures(idle, finish, batch)


@contextmanager
def _configured(folder: Path) -> Iterator[None]:
    """Run with points for as many videos as are measured."""
    before = os.environ.get("REELGATE_CONFIG_DIR")
    os.environ["REELGATE_CONFIG_DIR"] = str(roomy_configs(folder))
    try:
        yield
    finally:
        del os.environ["REELGATE_CONFIG_DIR"]
        if before is not None:
            os.environ["REELGATE_CONFIG_DIR"] = before


def _measure_finish(client: OpenAI, plain: Any, num_jobs: int) -> FinishFigures:
    figures = FinishFigures([], [], [])
    for _ in range(num_jobs):
        total_s, [render_s] = _run_jobs(client, 1)
        figures.total_s.append(total_s)
        figures.render_s.append(render_s)
        figures.plain_s.append(_run_plain(plain, 1))
    return figures


def _measure_batch(client: OpenAI, plain: Any, rounds: int, num_jobs: int) -> BatchFigures:
    figures = BatchFigures(num_jobs, [], [])
    for _ in range(rounds):
        figures.plain_s.append(_run_plain(plain, num_jobs) / num_jobs)
        figures.ours_s.append(_run_jobs(client, num_jobs)[0] / num_jobs)
    return figures


def _run_jobs(client: OpenAI, num_jobs: int) -> tuple[float, Sequence[float]]:
    """Seconds from the first submit until all are completed, and the worker's own for each."""
    began = time.perf_counter()
    waiting = [
        client.videos.create(model="reel-tiny", prompt=PROMPT, seconds="2", size="96x96").id  # type: ignore[arg-type]  # sizes of our own
        for _ in range(num_jobs)
    ]
    render_s = []
    while waiting:
        video = client.videos.retrieve(waiting[0])
        if is_over(video):
            if video.status != "completed":
                raise RuntimeError(f"{video.id} failed: {video.error}")
            render_s.append(float((video.model_extra or {})["metadata"]["render_s"]))
            waiting.pop(0)
        elif time.perf_counter() - began > PATIENCE_S:
            raise TimeoutError(f"{video.id} took longer than {PATIENCE_S:.0f} s")
        else:
            time.sleep(LOOK_EVERY_S if num_jobs == 1 else LOOK_AT_MANY_EVERY_S)
    return time.perf_counter() - began, render_s


def _run_plain(pipeline: Any, num_prompts: int) -> float:
    began = time.perf_counter()
    for _ in range(num_prompts):
        pipeline(prompt=PROMPT, **arguments_for(USUAL_STAGE))
    return time.perf_counter() - began
