"""`python -m tests.chaos --minutes 1`: prove that nothing is lost and nothing is paid twice.

Linux only: it finds renderers in `/proc`.
"""

import argparse
import secrets
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.chaos.checks import DOUBLE, LOST
from tests.chaos.diary import Breach
from tests.chaos.trial import Verdict, try_it

DATABASES = ("sqlite", "postgresql")
_SHOWN_OF_A_RULE = 5


def main(arguments: list[str]) -> int:
    """Run it; 1 if any promise was broken."""
    options = _parse(arguments)
    database = options.database or DATABASES[options.seed % 2]
    folder = Path(tempfile.mkdtemp(prefix="reelgate-chaos-"))
    say(f"seed {options.seed}, {database}, {options.minutes:g} minutes of faults, in {folder}")
    verdict = try_it(
        folder, seconds=options.minutes * 60, seed=options.seed, database=database, say=say
    )
    _tell(verdict)
    if verdict.breaches or options.keep:
        say(f"seed {options.seed} on {database}; logs, files and database are kept in {folder}")
    else:
        shutil.rmtree(folder)
    say(_last_line(verdict))
    return 1 if verdict.breaches else 0


def say(text: str) -> None:
    """A line on stdout, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./run chaos", description=__doc__)
    parser.add_argument("--minutes", type=_positive, default=1.0, help="of faults; default 1")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--database", choices=DATABASES, help="by the seed if left out")
    parser.add_argument("--keep", action="store_true", help="the folder, breach or not")
    return parser.parse_args(arguments)


def _positive(text: str) -> float:
    minutes = float(text)
    if not 0 < minutes <= 24 * 60:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and up to a day of minutes")
    return minutes


def _tell(verdict: Verdict) -> None:
    say("\nreached:")
    for name, number in sorted(verdict.situations.items(), key=lambda item: (-item[1], item[0])):
        say(f"  {number:6}  {name}")
    say("faults:")
    for name, number in sorted(verdict.faults.items()):
        say(f"  {number:6}  {name}")
    say(f"healed and idle after {verdict.healed_after_s:.1f} s")
    say(f"{verdict.num_dropped_files} stray files, all removed by housekeeping")
    for rule, number in _by_rule(verdict.breaches).items():
        say(f"BREACH: {rule}: {number}")
        details = [each.detail for each in verdict.breaches if each.rule == rule]
        for detail in details[:_SHOWN_OF_A_RULE]:
            say(f"    {detail}")


def _by_rule(breaches: list[Breach]) -> Counter[str]:
    return Counter(breach.rule for breach in breaches)


def _last_line(verdict: Verdict) -> str:
    rules = _by_rule(verdict.breaches)
    num_audit = sum(number for rule, number in rules.items() if rule.startswith("audit: "))
    others = len(verdict.breaches) - rules[LOST] - rules[DOUBLE] - num_audit
    return (
        f"chaos: {verdict.faults.total()} faults, {verdict.num_jobs} jobs, {rules[LOST]} lost, "
        f"{rules[DOUBLE]} double-settled, audit {'RED' if num_audit else 'green'}"
    ) + (f", {others} other breaches" if others else "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
