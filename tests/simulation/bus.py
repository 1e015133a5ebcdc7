"""Redis as it may be: it loses, repeats, reorders and delays deliveries, goes away, is wiped.

`Redis` is the server; `Bus` is the gateway's side of it, one for each life of the process.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from typing_extensions import override

from gateway.protocol import AttemptRef, Progress
from gateway.queue import DeliveryQueue
from gateway.streams import Change
from tests.simulation.process import Process
from tests.simulation.world import World


@dataclass
class Redis:
    """What the server holds. `hear` are workers that wait for a delivery, by pool."""

    world: World
    deliveries: dict[str, list[str]] = field(default_factory=dict)
    canceled: set[str] = field(default_factory=set)
    hear: dict[str, list[Callable[[], None]]] = field(default_factory=dict)
    is_away: bool = False

    def push(self, pool: str, delivery: str) -> None:
        """A delivery arrives, if it does."""
        if self.world.strikes("delivery lost"):
            return
        times = 2 if self.world.strikes("delivery doubled") else 1
        self.deliveries.setdefault(pool, []).extend([delivery] * times)
        self.call(pool)

    def pop(self, pool: str) -> str | None:
        """Some delivery, in whatever order; None without any."""
        waiting = self.deliveries.get(pool, [])
        if not waiting or self.is_away:
            return None
        return waiting.pop(self.world.random.randrange(len(waiting)))

    def listen(self, pool: str, hear: Callable[[], None]) -> None:
        """Have `hear` called once, when a delivery may be there."""
        self.hear.setdefault(pool, []).append(hear)
        self.call(pool)

    def suffer(self) -> None:
        """Perhaps something happens to the server."""
        if self.world.strikes("bus wiped"):
            self.deliveries.clear()
            self.canceled.clear()
        if not self.is_away and self.world.strikes("bus away"):
            self.is_away = True
            self.world.after(self.world.between(1, 20), self.return_)

    def return_(self) -> None:
        """It answers again, and those who listen connect anew."""
        self.is_away = False
        for pool in sorted(self.hear):
            self.call(pool)

    def call(self, pool: str) -> None:
        """Let one listener hear, if there is something to hear."""
        listeners = self.hear.get(pool, [])
        if not listeners or self.is_away or not self.deliveries.get(pool):
            return
        hear = listeners.pop(self.world.random.randrange(len(listeners)))
        is_late = self.world.strikes("delivery delayed")
        self.world.after(self.world.between(0, 8 if is_late else 0.2), hear)


class Bus(DeliveryQueue):
    """The gateway's side; whatever else the base class does needs a real Redis."""

    def __init__(self, redis: Redis, process: Process) -> None:
        self._server = redis
        self._process = process

    @override
    def ring(self, pool: str, waiting: Iterable[AttemptRef]) -> bool:
        self._process.may_die("before the ring")
        self._server.suffer()
        if self._server.is_away:
            return False
        for ref in waiting:
            self._server.push(pool, f"{ref.job_id}-a{ref.attempt + 1}")
        return True

    @override
    def ring_missing(self, pool: str, waiting: list[AttemptRef]) -> int:
        present = set(self._server.deliveries.get(pool, []))
        missing = [ref for ref in waiting if f"{ref.job_id}-a{ref.attempt + 1}" not in present]
        rung = len(missing) if missing and self.ring(pool, missing) else 0
        if rung:
            self._server.world.reach("lost delivery rung again")
        return rung

    @override
    def num_deliveries(self, pool: str) -> int | None:
        self._process.check()
        return None if self._server.is_away else len(self._server.deliveries.get(pool, []))

    @override
    def find_progress(self, job_id: str, attempt: int) -> Progress | None:
        return None

    @override
    def flag_cancel(self, job_id: str) -> None:
        self._process.check()
        if not self._server.is_away:
            self._server.canceled.add(job_id)

    @override
    def announce(self, change: Change, owners: Mapping[str, str]) -> None:
        self._process.check()
