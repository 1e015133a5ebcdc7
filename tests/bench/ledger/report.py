"""The figures as a person reads them, as one line, and as JSON."""

from dataclasses import asdict
from typing import Any

from tests.bench.ledger.bench import SMALL_JOBS, Outcome, Plan
from tests.bench.ledger.figures import Figures
from tests.bench.ledger.machine import Machine

HEADER = f"{'':22} {'tx/s':>7} {'ratio':>7} {'p50 ms':>8} {'p99 ms':>8} {'p50 before commit':>18}"


def table(plan: Plan, outcomes: dict[str, Outcome]) -> list[str]:
    """Every measurement, then what the large databases hold."""
    lines = []
    for name, outcome in outcomes.items():
        speed, scale = outcome.throughput, outcome.scale
        rounds = f"{plan.num_rounds} rounds of {plan.num_submits}"
        lines += [
            f"{name} {outcome.version}, {speed.num_statements} statements a submit, {rounds}",
            HEADER,
            _row("the bare driver", speed.raw, "1"),
            _row("submit", speed.ours, short(speed.ratio)),
            _row(f"submit, {power(SMALL_JOBS)} jobs", scale.small, "x1"),
            _row(f"submit, {power(plan.num_jobs)} jobs", scale.large, f"x{scale.ratio:.2f}"),
            "",
            *_contents(outcome),
            "",
        ]
    return lines


def closing_line(plan: Plan, outcomes: dict[str, Outcome]) -> str:
    """The run in one line."""
    speeds = " ".join(
        f"{name} {short(outcome.throughput.ratio)}" for name, outcome in outcomes.items()
    )
    growth = " / ".join(f"x{outcome.scale.ratio:.2f}" for outcome in outcomes.values())
    sizes = f"from {power(SMALL_JOBS)} to {power(plan.num_jobs)} jobs"
    return f"ledger: {speeds} of the raw driver; p50 {growth} {sizes}"


def as_json(plan: Plan, outcomes: dict[str, Outcome], machine: Machine) -> dict[str, Any]:
    """The run, for a file; `command` gives what decides the figures."""
    command = (
        f"./run bench ledger --jobs {plan.num_jobs} --accounts {plan.num_accounts} "
        f"--rounds {plan.num_rounds} --submits {plan.num_submits}"
    )
    return {
        "summary": closing_line(plan, outcomes),
        "command": command,
        "date": plan.now.date().isoformat(),
        "machine": machine.as_json(),
        "jobs": plan.num_jobs,
        "accounts": plan.num_accounts,
        "rounds": plan.num_rounds,
        "submits_per_round": plan.num_submits,
        "databases": {
            name: {
                **asdict(outcome),
                "ratio_to_raw_driver": outcome.throughput.ratio,
                "p50_large_to_small": outcome.scale.ratio,
            }
            for name, outcome in outcomes.items()
        },
    }


def short(ratio: float) -> str:
    """Two decimals without the leading zero."""
    return f"{ratio:.2f}".removeprefix("0")


def power(number: int) -> str:
    """`5e6` for five million."""
    digits, exponent = f"{number:.3e}".split("e")
    return f"{digits.rstrip('0').rstrip('.')}e{int(exponent)}"


def _row(what: str, figures: Figures, ratio: str) -> str:
    return (
        f"{what:22} {figures.per_s:7.0f} {ratio:>7} {figures.p50_ms:8.2f} {figures.p99_ms:8.2f} "
        f"{figures.work_p50_ms:18.2f}"
    )


def _contents(outcome: Outcome) -> list[str]:
    lines = [f"filled in {outcome.fill_s:.0f} s: {'rows':>21} {'MB with indexes':>16}"]
    lines += [
        f"  {each.table:20} {each.num_rows:>16,} {each.num_bytes / 1e6:>16,.0f}"
        for each in outcome.tables
    ]
    total = sum(each.num_bytes for each in outcome.tables)
    return [*lines, f"  {'all':37} {total / 1e6:>16,.0f}"]
