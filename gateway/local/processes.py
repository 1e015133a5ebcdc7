"""Child processes that cannot outlive this one, each with a log file of its own.

`Child` starts, watches and stops one; `Restarter` brings the dead back, slower each time. Children
run in sessions of their own: Ctrl-C reaches us alone, and we stop them in order.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

GUARD = Path(__file__).with_name("guard.py")
STOP_GRACE_S = 10.0
TAIL_LINES = 15
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that end the process which starts children."""


class LocalError(Exception):
    """Why the system does not run on this machine, as text for the person at the terminal."""


class ChildDiedError(LocalError):
    """A child ended that should still run; the text holds the end of its log."""

    def __init__(self, child: "Child") -> None:
        super().__init__(
            f"{child.name} ended with status {child.poll()}; the end of {child.log_path}:\n"
            f"{child.log_tail()}"
        )


class Child:
    """One child process, started by `start` and, after a crash, by `start` again.

    Start it from a thread that lives as long as the child should: its end is what kills the child.

    Args:
        name: what messages call it.
        command: program and arguments; no secrets, since every user can list them.
        env: variables added to our own.
        log_path: both output streams are appended here.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log_path: Path,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log_path = log_path
        self._command = list(command)
        self._env = dict(env or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id; raises RuntimeError before the first start."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was never started")
        return self._process.pid

    def start(self) -> None:
        """Start the process; it must not be running."""
        guarded = [sys.executable, "-I", "-S", str(GUARD), str(os.getpid()), *self._command]
        with self.log_path.open("ab") as log, _undisturbed():
            self._process = subprocess.Popen(  # noqa: S603 -- the project's own commands
                guarded,
                env={**os.environ, **self._env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while it runs or was never started."""
        return self._process.poll() if self._process else None

    def check(self) -> None:
        """Raise ChildDiedError if the process has ended."""
        if self.poll() is not None:
            raise ChildDiedError(self)

    def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """Send SIGTERM, after `grace_s` SIGKILL to all that it has started too; idempotent."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(grace_s)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def log_tail(self, lines: int = TAIL_LINES) -> str:
        """The last `lines` of the log, indented; says so when there are none."""
        try:
            text = self.log_path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            text = ""
        return "\n".join(f"  {line}" for line in text.splitlines()[-lines:]) or "  (empty)"


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep signals to stop waiting: one between fork and return leaves a child nobody knows of.

    Python runs their handlers in the main thread, whichever thread a signal reaches, so masking
    this one would not hold them back where there are others.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting: list[int] = []
    before: dict[signal.Signals, Any] = {}
    try:
        for number in STOPPING:
            handler = signal.getsignal(number)
            # A child would hear what we ignore; None is not Python's to restore.
            if handler not in (signal.SIG_IGN, None):
                before[number] = handler
                signal.signal(number, lambda heard, _frame: waiting.append(heard))
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for heard in waiting:
            signal.raise_signal(heard)


class Restarter:
    """Starts dead children again, after a delay that doubles while they keep dying.

    Args:
        children: watched by every `step`.
        say: gets one line per death.
        healthy_after_s: a child that lived this long starts over at the first delay.
    """

    def __init__(
        self,
        children: Sequence[Child],
        say: Callable[[str], None],
        *,
        first_delay_s: float = 1.0,
        longest_delay_s: float = 30.0,
        healthy_after_s: float = 60.0,
    ) -> None:
        self._children = children
        self._say = say
        self._first_delay_s = first_delay_s
        self._longest_delay_s = longest_delay_s
        self._healthy_after_s = healthy_after_s
        now = time.monotonic()
        self._started_at = {child.name: now for child in children}
        self._delay_s = {child.name: first_delay_s for child in children}
        self._restart_at: dict[str, float] = {}

    def step(self, now: float) -> None:
        """Note who has died, and start whose delay is over; `now` is `time.monotonic()`."""
        for child in self._children:
            if child.poll() is None:
                continue
            due = self._restart_at.get(child.name)
            if due is None:
                self._note_death(child, now)
            elif now >= due:
                del self._restart_at[child.name]
                self._started_at[child.name] = now
                child.start()

    def _note_death(self, child: Child, now: float) -> None:
        lived_s = now - self._started_at[child.name]
        delay_s = self._delay_s[child.name]
        if lived_s >= self._healthy_after_s:
            delay_s = self._first_delay_s
        self._restart_at[child.name] = now + delay_s
        self._delay_s[child.name] = min(2 * delay_s, self._longest_delay_s)
        self._say(
            f"{child.name} ended with status {child.poll()}; again in {delay_s:.0f} s "
            f"(log: {child.log_path})"
        )
