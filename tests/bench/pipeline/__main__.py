"""`./run bench pipeline`: the worker beside a plain diffusers script of the same clip."""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from tests.bench.ledger.machine import describe_machine
from tests.bench.pipeline.plain import load_pipeline, render
from tests.bench.pipeline.rig import Rig, Spent, running
from tests.conftest import ROOT

TARGET = 0.05
"""The most that the worker may add to the time of the plain script."""

FAST = "fast"
"""The mode with the fewest steps."""

WARM_UP = 2
ALL_THREADS = torch.get_num_threads()


@dataclass
class Figures:
    """What a clip takes, one value a round; the sides take turns within a round."""

    plain: list[Spent] = field(default_factory=list)
    plain_alone: list[Spent] = field(default_factory=list)
    worker: list[Spent] = field(default_factory=list)
    batch: list[Spent] = field(default_factory=list)
    fast: list[Spent] = field(default_factory=list)
    process: list[Spent] = field(default_factory=list)

    @property
    def overhead(self) -> Spent:
        """What the worker adds, as parts of the plain script's time."""
        wall, cpu = _ratio(self.worker, self.plain)
        return Spent(wall - 1, cpu - 1)

    @property
    def overhead_alone(self) -> Spent:
        """As `overhead`, of a script that keeps to one thread as the worker does."""
        wall, cpu = _ratio(self.worker, self.plain_alone)
        return Spent(wall - 1, cpu - 1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and end with the one-line summary; the exit status."""
    options = _parse(arguments)
    _print(describe_machine().as_text())
    with (
        tempfile.TemporaryDirectory(prefix="reelgate-bench-") as name,
        running(Path(name)) as rig,
    ):
        mode, batch = rig.card.default_mode, rig.card.max_room
        steps, few = rig.card.steps_of(mode), rig.card.steps_of(FAST)
        found = _measure(rig, Path(name), options.rounds, batch)
        stages = [*rig.stages.lines(mode), "", *rig.stages.lines(FAST)]
    _print("\n" + "\n".join(_lines(found, steps, few, batch)))
    _print("\n" + "\n".join(stages))
    _print(f"\n{describe_machine().as_text().replace('before the run', 'after it')}")
    verdict = "within" if found.overhead.wall_s <= TARGET else "above"
    _print(
        f"pipeline: overhead {found.overhead.wall_s:+.1%} ({verdict} {TARGET:.0%}), "
        f"of processor time {found.overhead.cpu_s:+.1%}; "
        f"over a script with one thread {found.overhead_alone.wall_s:+.1%}, "
        f"{found.overhead_alone.cpu_s:+.1%}; "
        f"batch of {batch} x{_ratio(found.worker, found.batch).wall_s:.2f}; "
        f"mode {FAST} x{_ratio(found.worker, found.fast).wall_s:.2f}; "
        f"a process per job x{_ratio(found.process, found.worker).wall_s:.1f} slower"
    )
    return 0


def _measure(rig: Rig, folder: Path, rounds: int, batch: int) -> Figures:
    mode = rig.card.default_mode
    steps = rig.card.steps_of(mode)
    plain: Any = load_pipeline()
    video = folder / "plain.mp4"
    for seed in range(WARM_UP):
        rig.run(batch, mode)
        rig.run(1, FAST, is_noted=False)
        render(plain, steps=steps, seed=seed, path=video)
    found = Figures()
    for seed in range(rounds):
        found.plain.append(_run_plain(plain, ALL_THREADS, steps=steps, seed=seed, path=video))
        found.plain_alone.append(_run_plain(plain, 1, steps=steps, seed=seed, path=video))
        found.worker.append(rig.run(1, mode))
        found.fast.append(rig.run(1, FAST))
        # The first call of another shape is slower; a busy queue does not change shapes often.
        rig.run(batch, FAST)
        found.batch.append(rig.run(batch, mode))
        rig.run(1, FAST, is_noted=False)
        # Importing and loading hardly vary, and take long.
        if seed % 3 == 0:
            found.process.append(_run_process(steps, video))
    return found


def _run_plain(plain: Any, num_threads: int, *, steps: int, seed: int, path: Path) -> Spent:
    torch.set_num_threads(num_threads)
    began = Spent(time.perf_counter(), time.process_time())
    render(plain, steps=steps, seed=seed, path=path)
    return Spent(time.perf_counter() - began.wall_s, time.process_time() - began.cpu_s)


def _run_process(steps: int, video: Path) -> Spent:
    """What a queue does that starts a process for every job."""
    began, before = time.perf_counter(), _cpu_of_ended()
    subprocess.run(
        [sys.executable, "-m", "tests.bench.pipeline.plain", str(steps), str(video)],
        check=True,
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return Spent(time.perf_counter() - began, _cpu_of_ended() - before)


def _cpu_of_ended() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _lines(found: Figures, steps: int, few: int, batch: int) -> list[str]:
    rows = [
        (f"plain script, {steps} steps", found.plain, "diffusers call and encode_video; warm"),
        ("plain script, one thread", found.plain_alone, "as many as the worker's card allows"),
        (f"worker, {steps} steps", found.worker, "doorbell to reported: MP4, label, stills"),
        (f"worker, {batch} at once", found.batch, "per clip"),
        (f"worker, mode {FAST}, {few} steps", found.fast, "distilled weights, no guidance"),
        (f"a process per job, {steps} steps", found.process, "imports and loads each time"),
    ]
    lines = [f"{'ms a clip':32}  median    least  processor"]
    for name, spent, note in rows:
        middle = _median(spent)
        least = min(each.wall_s for each in spent)
        shown = f"{middle.wall_s * 1000:7.0f} {least * 1000:8.0f} {middle.cpu_s * 1000:10.0f}"
        lines.append(f"  {name:30} {shown}  {note}".rstrip())
    return lines


def _median(spent: Sequence[Spent]) -> Spent:
    return Spent(
        statistics.median(each.wall_s for each in spent),
        statistics.median(each.cpu_s for each in spent),
    )


def _ratio(ours: Sequence[Spent], others: Sequence[Spent]) -> Spent:
    """How many times `others` ours take: the median over rounds, where all rounds have both."""
    if len(ours) != len(others):
        ours, others = [_median(ours)], [_median(others)]
    pairs = zip(ours, others, strict=True)
    return _median(
        [Spent(our.wall_s / other.wall_s, our.cpu_s / other.cpu_s) for our, other in pairs]
    )


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./run bench pipeline", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="how often each side has its turn")
    return parser.parse_args(arguments)


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
