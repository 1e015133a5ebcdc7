"""`python -m tests.mutants`: break the ledger on purpose, one way at a time; a test must notice.

Each mutant is put into a copy of the tree, and the ledger's own tests run there on SQLite. The
copy without a mutant goes first and must pass.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutants.catalogue import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
COPIED = ("configs", "gateway", "models", "tests", "pyproject.toml")
# The quick ones first: a mutant dies at its first failure.
SUITE = (
    "tests/unit/gateway/test_plans_and_prices.py",
    "tests/integration/points/test_known_defects.py",
    "tests/integration/points/test_days_and_periods.py",
    "tests/integration/points/test_races.py",
    "tests/integration/points/test_stateful.py",
)
NUM_AT_ONCE = 2
NUM_EXAMPLES = 25
TESTS_FAILED = 1


def main() -> int:
    """Hunt every mutant; 0 if none survived."""
    with tempfile.TemporaryDirectory(prefix="reelgate-mutants-") as name:
        folder = Path(name)
        healthy = copy_tree(folder / "healthy")
        answer = run_suite(healthy)
        if answer.returncode != 0:
            say(answer.stdout + answer.stderr)
            say("the ledger's tests fail without any mutant")
            return 1
        with ThreadPoolExecutor(NUM_AT_ONCE) as pool:
            killed = list(pool.map(lambda mutant: hunt(mutant, folder), MUTANTS))
    say(f"mutants: {sum(killed)} killed, {len(killed) - sum(killed)} survived")
    return 0 if all(killed) else 1


def hunt(mutant: Mutant, folder: Path) -> bool:
    """Whether a test fails once `mutant` is in."""
    tree = copy_tree(folder / str(MUTANTS.index(mutant)))
    path = tree / mutant.path
    source = path.read_text(encoding="utf-8")
    if source.count(mutant.old) != 1:
        say(f"STALE     {mutant.name}: its text is not in {mutant.path} once")
        return False
    path.write_text(source.replace(mutant.old, mutant.new), encoding="utf-8")
    answer = run_suite(tree)
    shutil.rmtree(tree)
    failed = re.search(r"^FAILED \S+::(\w+)", answer.stdout, re.MULTILINE)
    if answer.returncode == TESTS_FAILED and failed:
        say(f"killed    {mutant.name}  by {failed[1]}")
        return True
    say(f"SURVIVED  {mutant.name}")
    return False


def copy_tree(target: Path) -> Path:
    """A copy of everything the suite needs, in `target`."""
    target.mkdir()
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, target / name, ignore=ignore)
        else:
            shutil.copyfile(source, target / name)
    return target


def run_suite(tree: Path) -> subprocess.CompletedProcess[str]:
    """Run the ledger's tests on SQLite in `tree`, until one fails; the same cases every time."""
    options = "-x -q -p no:randomly -p no:cacheprovider --tb=no --hypothesis-seed=1"
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", *options.split()),
            *("-k", "not postgresql", "--basetemp", str(tree / "tmp")),
            *SUITE,
        ],
        cwd=tree,
        env=os.environ
        | {"REELGATE_LEDGER_EXAMPLES": str(NUM_EXAMPLES), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def say(text: str) -> None:
    """A line on stdout, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
