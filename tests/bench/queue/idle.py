"""What an idle worker host costs: processor time of its processes, next to an idle RQ worker.

Both wait in the same Valkey during the same seconds. Read from `/proc/*/schedstat`, so Linux only.
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from gateway.local.processes import Child
from gateway.local.stack import LocalStack
from tests.support.stack import pid_of

SETTLE_S = 3.0
"""A worker that has just started, or has just rendered, still has something to do."""


@dataclass(frozen=True)
class IdleFigures:
    """Shares of one core, 0..1, over `window_s` seconds: of our parent, our child, and RQ's."""

    window_s: float
    parent: float
    child: float
    rq: float

    def lines(self) -> list[str]:
        """The table."""
        parts = f"(parent {self.parent * 100:.3f}, warm child {self.child * 100:.3f})"
        return [
            f"idle for {self.window_s:.0f} s       % of a core",
            f"  worker host            {(self.parent + self.child) * 100:6.3f}  {parts}",
            f"  stock RQ worker        {self.rq * 100:6.3f}",
        ]


def measure_idle(stack: LocalStack, folder: Path, window_s: float) -> IdleFigures:
    """Let a stock RQ worker idle beside the worker of `stack`, whose jobs have all ended."""
    command = [sys.executable, "-m", "rq.cli", "worker", "--url", _redis_url(stack), "nothing"]
    rq = Child("rq", command, log_path=folder / "rq.log")
    try:
        rq.start()
        time.sleep(SETTLE_S)
        pids = (pid_of(stack, "worker"), pid_of(stack, "child"), rq.pid)
        before = [_cpu_s(pid) for pid in pids]
        time.sleep(window_s)
        after = [_cpu_s(pid) for pid in pids]
        rq.check()
    finally:
        rq.stop()
    return IdleFigures(
        window_s, *((late - early) / window_s for early, late in zip(before, after, strict=True))
    )


def _cpu_s(pid: int) -> float:
    """Processor seconds of all threads of a process, to the nanosecond."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def _redis_url(stack: LocalStack) -> str:
    """As the worker of `stack` knows it."""
    environment = Path(f"/proc/{pid_of(stack, 'worker')}/environ").read_bytes().split(b"\0")
    prefix = b"REELGATE_REDIS_URL="
    [url] = [line.removeprefix(prefix) for line in environment if line.startswith(prefix)]
    return url.decode()
