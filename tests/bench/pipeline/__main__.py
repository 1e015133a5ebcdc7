"""`./run bench pipeline`: the worker beside a plain diffusers script of the same clip."""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench.ledger.machine import describe_machine
from tests.bench.pipeline.plain import load_pipeline, render
from tests.bench.pipeline.rig import Rig, running
from tests.conftest import ROOT

TARGET = 0.05
"""The most that the worker may add to the time of the plain script."""

WARM_UP = 2


@dataclass
class Figures:
    """Seconds a clip, one value a round; the sides take turns within a round."""

    plain_s: list[float] = field(default_factory=list)
    worker_s: list[float] = field(default_factory=list)
    batch_s: list[float] = field(default_factory=list)
    few_steps_s: list[float] = field(default_factory=list)
    process_s: list[float] = field(default_factory=list)

    @property
    def overhead(self) -> float:
        """What the worker adds, as a part of the plain script's time; median over rounds."""
        return _ratio(self.worker_s, self.plain_s) - 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and end with the one-line summary; the exit status."""
    options = _parse(arguments)
    _print(describe_machine().as_text())
    with (
        tempfile.TemporaryDirectory(prefix="reelgate-bench-") as name,
        running(Path(name)) as rig,
    ):
        steps, batch = rig.card.modes[rig.card.default_mode], rig.card.max_room
        few = rig.card.num_inference_steps.min
        found = _measure(rig, Path(name), options.rounds, (steps, few), batch)
    _print("\n" + "\n".join(_lines(found, steps, few, batch)))
    _print(f"\n{describe_machine().as_text().replace('before the run', 'after it')}")
    verdict = "within" if found.overhead <= TARGET else "above"
    _print(
        f"pipeline: overhead {found.overhead:+.1%} ({verdict} {TARGET:.0%}); "
        f"batch of {batch} x{_ratio(found.worker_s, found.batch_s):.2f}; "
        f"{few} steps x{_ratio(found.worker_s, found.few_steps_s):.2f}; "
        f"a process per job x{_ratio(found.process_s, found.worker_s):.1f} slower"
    )
    return 0


def _measure(
    rig: Rig, folder: Path, rounds: int, all_steps: tuple[int, int], batch: int
) -> Figures:
    steps, few = all_steps
    plain: Any = load_pipeline()
    video = folder / "plain.mp4"
    for seed in range(WARM_UP):
        rig.run(batch, steps=steps)
        rig.run(1, steps=few)
        render(plain, steps=steps, seed=seed, path=video)
    found = Figures()
    for seed in range(rounds):
        found.plain_s.append(_seconds(partial(render, plain, steps=steps, seed=seed, path=video)))
        found.worker_s.append(rig.run(1, steps=steps))
        found.batch_s.append(rig.run(batch, steps=steps) / batch)
        found.few_steps_s.append(rig.run(1, steps=few))
        # Importing and loading hardly vary, and take long.
        if seed % 3 == 0:
            found.process_s.append(_seconds(partial(_run_process, steps, video)))
    return found


def _run_process(steps: int, video: Path) -> None:
    """What a queue does that forks or starts a process for every job."""
    subprocess.run(
        [sys.executable, "-m", "tests.bench.pipeline.plain", str(steps), str(video)],
        check=True,
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def _lines(found: Figures, steps: int, few: int, batch: int) -> list[str]:
    rows = [
        (f"plain script, {steps} steps", found.plain_s, "diffusers call, H.264 file; warm"),
        (f"worker, {steps} steps", found.worker_s, "doorbell to reported: MP4, label, stills"),
        (f"worker, {batch} at once", found.batch_s, "per clip"),
        (f"worker, {few} steps", found.few_steps_s, ""),
        (f"a process per job, {steps} steps", found.process_s, "imports and loads each time"),
    ]
    lines = [f"{'one clip':32}  median ms    least"]
    for name, seconds, note in rows:
        middle, least = statistics.median(seconds) * 1000, min(seconds) * 1000
        lines.append(f"  {name:30} {middle:9.0f} {least:8.0f}  {note}".rstrip())
    added = statistics.median(
        worker - plain for worker, plain in zip(found.worker_s, found.plain_s, strict=True)
    )
    return [*lines, f"  {'the worker adds':30} {added * 1000:9.0f}"]


def _ratio(ours: Sequence[float], others: Sequence[float]) -> float:
    """Of each round, where both were measured in all; else of the medians."""
    if len(ours) != len(others):
        return statistics.median(ours) / statistics.median(others)
    return statistics.median(our / other for our, other in zip(ours, others, strict=True))


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./run bench pipeline", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="how often each side has its turn")
    return parser.parse_args(arguments)


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
