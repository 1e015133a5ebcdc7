"""Does the faults of a plan, one after the other, and keeps what dies coming back.

Used from the main thread alone, because it starts processes. A fault whose target is down already
waits its turn while another goes first, so every fault of the plan is done.
"""

import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from sqlalchemy import text

from tests.chaos.faults import HOSTS, PROCESSES, RENDERERS, WIRE_ACTS, Act, Fault, host_of
from tests.chaos.proxy import Mode
from tests.chaos.system import System, signal_process

TICK_S = 0.05
# What ends by itself, as a gateway that finds no database, is started again after this.
REVIVE_S = 0.5
STOP_GRACE_S = 10.0
# A worker gets so long to load its model and to find a job before it is struck all the same.
MERCY_S = 15.0
_DROP = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name <> 'chaos'
"""


class _Later(NamedTuple):
    """Something to be undone."""

    at: float
    target: str
    undo: Callable[[], object]


class Nemesis:
    """Makes trouble in `system`; `say` gets a line for each fault.

    Attributes:
        done: how often each fault was done.
    """

    def __init__(self, system: System, say: Callable[[str], None]) -> None:
        self.done: Counter[str] = Counter()
        self._system = system
        self._say = say
        self._later: list[_Later] = []
        self._revive_at: dict[str, float] = {}
        self._kill_at: dict[str, float] = {}
        self._struck_at = dict.fromkeys(HOSTS, time.monotonic())

    def rage(self, plan: Sequence[Fault], seconds: float) -> None:
        """Do all of `plan`, spread over `seconds`; longer if targets are slow to come back."""
        began = time.monotonic()
        waiting = list(plan)
        while waiting or time.monotonic() < began + seconds:
            self.step()
            due = began + (len(plan) - len(waiting)) * seconds / len(plan)
            if not waiting or time.monotonic() < due:
                continue
            fault = next((each for each in waiting if self._can(each)), None)
            if fault is not None and self._do(fault):
                waiting.remove(fault)
                self.done[fault.name] += 1
                self._say(f"{time.monotonic() - began:6.1f} s  {fault.name}, {fault.hold_s:.1f} s")

    def heal(self) -> None:
        """Undo whatever is not undone yet; what is dead comes back with the next steps."""
        for later in self._later:
            later.undo()
        self._later.clear()

    def step(self) -> None:
        """Wait a moment, undo what is due, start what is dead."""
        time.sleep(TICK_S)
        now = time.monotonic()
        for later in [each for each in self._later if each.at <= now]:
            self._later.remove(later)
            later.undo()
        for name in PROCESSES:
            self._revive(name, now)

    def is_up(self) -> bool:
        """Whether every process runs and no fault is left."""
        running = (self._system.processes[name].poll() is None for name in PROCESSES)
        return not self._later and not self._kill_at and all(running)

    def _revive(self, name: str, now: float) -> None:
        process = self._system.processes[name]
        if process.poll() is None:
            if now >= self._kill_at.get(name, float("inf")):
                signal_process(process.pid, signal.SIGKILL)
            return
        self._kill_at.pop(name, None)
        due = self._revive_at.setdefault(name, now + REVIVE_S)
        if now >= due:
            del self._revive_at[name]
            process.start()

    def _can(self, fault: Fault) -> bool:
        """Whether the target is there to be hurt, and not being hurt."""
        busy = {later.target for later in self._later} | self._kill_at.keys()
        if fault.target in busy:
            return False
        if fault.target in self._system.wires:
            return True
        host = host_of(fault)
        if host is None:
            return self._system.processes[fault.target].poll() is None
        return host not in busy and self._is_worth_it(host)

    def _is_worth_it(self, host: str) -> bool:
        if self._system.find_renderer_pid(host) is None:
            return False
        had_mercy = time.monotonic() >= self._struck_at[host] + MERCY_S
        return had_mercy or (self._system.has_model(host) and self._system.has_job(host))

    def _do(self, fault: Fault) -> bool:
        """Do it; False if the target was gone at the last moment."""
        if fault.act in WIRE_ACTS:
            return self._bend(fault)
        if fault.act is Act.DROP:
            with self._system.database.read() as connection:
                return bool(connection.execute(text(_DROP)).scalar_one())
        return self._wipe() if fault.act is Act.WIPE else self._strike(fault)

    def _bend(self, fault: Fault) -> bool:
        wire = self._system.wires[fault.target]
        wire.set_mode(Mode(fault.act))
        self._undo_later(fault, lambda: wire.set_mode(Mode.PASS))
        return True

    def _undo_later(self, fault: Fault, undo: Callable[[], object]) -> None:
        self._later.append(_Later(time.monotonic() + fault.hold_s, fault.target, undo))

    def _wipe(self) -> bool:
        once = Retry(NoBackoff(), 0)
        with Redis.from_url(self._system.redis_url, socket_timeout=2, retry=once) as redis:
            try:
                redis.flushall()
            except RedisError:
                # It has only just been started.
                return False
        return True

    def _strike(self, fault: Fault) -> bool:
        pid = self._find_pid(fault.target)
        if pid is None:
            return False
        now = time.monotonic()
        self._struck_at[host_of(fault) or ""] = now
        if fault.act is Act.PAUSE:
            self._undo_later(fault, lambda: signal_process(pid, signal.SIGCONT))
            return signal_process(pid, signal.SIGSTOP)
        if fault.target in PROCESSES:
            self._revive_at[fault.target] = now + fault.hold_s
        if fault.act is Act.RESTART:
            self._kill_at[fault.target] = now + STOP_GRACE_S
            return signal_process(pid, signal.SIGTERM)
        return signal_process(pid, signal.SIGKILL)

    def _find_pid(self, target: str) -> int | None:
        host = RENDERERS.get(target)
        if host is not None:
            return self._system.find_renderer_pid(host)
        return self._system.processes[target].pid
