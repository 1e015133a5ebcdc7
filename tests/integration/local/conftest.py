"""What tests of real processes share: a patient question, and one that looks behind a pid."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], None]:
    """Wait until a question is answered with yes; fails after two minutes."""

    def wait(question: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 120
        while not question():
            assert time.monotonic() < deadline, "it never happened"
            time.sleep(0.02)

    return wait


@pytest.fixture
def is_running() -> Callable[[int], bool]:
    """Whether a process lives; one that only waits to be reaped does not."""

    def look(pid: int) -> bool:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
        except (FileNotFoundError, ProcessLookupError):
            return False
        return stat.rpartition(")")[2].split()[0] not in "ZX"

    return look
