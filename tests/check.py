"""`./run check`: everything but the tests that a change must pass."""

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Run every check, one failing or not; answers 1 if any did."""
    named = checks()
    failed = [name for name, command in named if not passes(name, command)]
    print(f"{len(failed)} of {len(named)} checks failed{': ' if failed else ''}{', '.join(failed)}")
    return 1 if failed else 0


def checks() -> list[tuple[str, list[str]]]:
    """Name and command of each; the programs are those of the environment that runs this."""
    compose = sorted(str(file.relative_to(ROOT)) for file in ROOT.glob("deploy/compose*.yaml"))
    return [
        ("ruff format", ["ruff", "format", "--check", ".", "run"]),
        ("ruff check", ["ruff", "check", ".", "run"]),
        ("mypy", ["mypy"]),
        ("mypy run", ["mypy", "run"]),
        ("import contracts", ["lint-imports"]),
        ("migrations", ["python", "-m", "gateway", "migrate", "--check"]),
        ("hadolint", ["hadolint", "Dockerfile"]),
        (
            "compose schema",
            ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", *compose],
        ),
    ]


def passes(name: str, command: list[str]) -> bool:
    """Run one check and print its result, with its output where it fails."""
    started = time.monotonic()
    done = subprocess.run(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    verdict = "ok  " if done.returncode == 0 else "FAIL"
    print(f"{verdict}  {name:<16}  {time.monotonic() - started:5.1f} s", flush=True)
    if done.returncode != 0:
        print(done.stdout, flush=True)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
