"""`./run bench ledger`: submits against the bare driver, and in a database of millions of jobs."""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.ledger.backends import open_backend
from tests.bench.ledger.bench import Outcome, Plan, measure
from tests.bench.ledger.machine import describe_machine, missing_bytes
from tests.bench.ledger.report import as_json, closing_line, table
from tests.bench.ledger.workload import load_workload

BACKENDS = ("sqlite", "postgresql")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and end with its one-line summary; the exit status."""
    options = _parse(arguments)
    plan = Plan(
        num_jobs=options.jobs,
        num_accounts=options.accounts,
        num_rounds=options.rounds,
        num_submits=options.submits,
        now=datetime.now(UTC),
        is_kept=options.keep is not None,
    )
    machine = describe_machine()
    with tempfile.TemporaryDirectory(prefix="reelgate-bench-") as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        missing = missing_bytes(folder, plan.num_jobs)
        if missing:
            _say(f"{folder} has {missing / 1e9:.1f} GB too few; use fewer --jobs, or another disk")
            return 1
        outcomes = {name: _measure(name, folder, plan) for name in options.only or BACKENDS}
    _print(f"{machine.as_text()}\n\n" + "\n".join(table(plan, outcomes)))
    if options.json:
        found = as_json(plan, outcomes, machine)
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    _print(closing_line(plan, outcomes))
    return 0


def _measure(name: str, folder: Path, plan: Plan) -> Outcome:
    with open_backend(name, folder, keep=plan.is_kept) as backend:
        return measure(backend, plan, load_workload(), say=_say)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./run bench ledger", description=__doc__)
    parser.add_argument("--jobs", type=int, default=5_000_000, help="of the large database")
    parser.add_argument("--accounts", type=int, default=500_000, help="of the large database")
    parser.add_argument("--rounds", type=int, default=12, help="of each side")
    parser.add_argument("--submits", type=int, default=50, help="in a round")
    parser.add_argument("--only", choices=BACKENDS, nargs=1, help="measure one database")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="make the databases here and leave them"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures here")
    options = parser.parse_args(arguments)
    if options.jobs < options.accounts or min(options.accounts, options.submits) < 10:
        parser.error("at least 10 accounts, 10 submits and one job an account")
    if options.rounds < 2:
        parser.error("at least 2 rounds")
    if options.keep and any(options.keep.glob("*")):
        parser.error(f"{options.keep} is not empty")
    return options


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")


def _say(text: str) -> None:
    """Progress, apart from the result."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
