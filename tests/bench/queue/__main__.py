"""`./run bench queue`: what the queue costs next to bare RQ, and what batches bring."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.ledger.machine import describe_machine
from tests.bench.queue.claims import ClaimFigures, measure_claims
from tests.bench.queue.starts import SIMPLE, STOCK, measure_starts
from tests.bench.queue.whole import measure_whole

PARTS = ("claims", "starts", "whole")


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    waiting: tuple[int, ...]
    rounds: int
    num_starts: int
    num_single: int
    batch_jobs: int
    batch_rounds: int
    idle_s: float


FULL = Size((10, 1_000, 100_000), 8, 10, 20, 24, 3, 10.0)
QUICK = Size((10, 1_000), 2, 5, 3, 5, 1, 3.0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and end with the one-line summary; the exit status."""
    options = _parse(arguments)
    size = QUICK if options.quick else FULL
    parts = {"claims": _claims, "starts": _starts, "whole": _whole}
    _print(describe_machine().as_text())
    found = []
    for name in options.only or PARTS:
        with tempfile.TemporaryDirectory(prefix="reelgate-bench-") as folder:
            lines, summary = parts[name](Path(folder), size)
        _print("\n" + "\n".join(lines))
        found.append(summary)
    _print(f"\n{describe_machine().as_text().replace('before the run', 'after it')}")
    _print("queue: " + "; ".join(found))
    return 0


def _claims(folder: Path, size: Size) -> tuple[list[str], str]:
    found = measure_claims(folder, size.waiting, size.rounds, 25)
    spread = max(figures.spread for figures in found)
    lines = [
        "claims           waiting        ms  claims/s     of RQ",
        *(line for figures in found for line in figures.lines()),
        *(_rq_line(figures) for figures in found),
    ]
    return lines, f"claims flat x{spread:.2f} from {size.waiting[0]} to {size.waiting[-1]:,}"


def _rq_line(figures: ClaimFigures) -> str:
    return (
        f"  bare RQ beside {figures.database:10} {figures.rq_s * 1000:5.2f} {1 / figures.rq_s:9.0f}"
    )


def _starts(folder: Path, size: Size) -> tuple[list[str], str]:
    found = measure_starts(folder, size.waiting, size.rounds, size.num_starts)
    summary = (
        f"start x{found.of(STOCK):.2f} of a stock RQ worker, x{found.of(SIMPLE):.2f} of one that "
        f"does not fork, flat x{found.spread:.2f}"
    )
    return found.lines(), summary


def _whole(folder: Path, size: Size) -> tuple[list[str], str]:
    found = measure_whole(
        folder,
        num_single=size.num_single,
        rounds=size.batch_rounds,
        batch_jobs=size.batch_jobs,
        idle_s=size.idle_s,
    )
    lines = [*found.idle.lines(), "", *found.finish.lines(), "", *found.batch.lines()]
    overhead_ms = found.finish.overhead_s * 1000
    return lines, f"overhead {overhead_ms:.0f} ms; batch x{found.batch.gain:.2f}"


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./run bench queue", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, few repeats")
    parser.add_argument(
        "--only", choices=PARTS, action="append", help="measure this part; can be repeated"
    )
    return parser.parse_args(arguments)


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
