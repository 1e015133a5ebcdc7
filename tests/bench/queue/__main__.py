"""`./run bench queue`: what the queue costs next to bare RQ, and what batches bring."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.bench.ledger.machine import describe_machine
from tests.bench.queue.claims import ClaimFigures, measure_claims

SIZES = (10, 1_000, 100_000)
QUICK_SIZES = (10, 1_000)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and end with the one-line summary; the exit status."""
    options = _parse(arguments)
    sizes = QUICK_SIZES if options.quick else SIZES
    rounds = 2 if options.quick else 8
    _print(describe_machine().as_text())
    with tempfile.TemporaryDirectory(prefix="reelgate-bench-") as temporary:
        claims = measure_claims(Path(temporary), sizes, rounds, 25)
        _print_claims(claims)
    spread = max(figures.spread for figures in claims)
    _print(f"queue: claims flat x{spread:.2f} from {sizes[0]} to {sizes[-1]:.0e}")
    return 0


def _print_claims(claims: Sequence[ClaimFigures]) -> None:
    _print(f"\nclaims         {'waiting':>9} {'ms':>9} {'claims/s':>9} {'of RQ':>9}")
    for figures in claims:
        _print("\n".join(figures.lines()))
    _print("  bare RQ      " + " ".join(f"{figures.rq_s * 1000:.2f} ms" for figures in claims))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./run bench queue", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, few repeats")
    return parser.parse_args(arguments)


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
