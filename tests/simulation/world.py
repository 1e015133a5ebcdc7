"""Simulated time, chance and memory: everything that one seed decides.

A run is a heap of events. Nothing waits for real, nothing runs at once; where the product would
leave the processor (a file store, a network), `pause` runs what others do meanwhile.
"""

import hashlib
import heapq
import random
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta

from tests.support.clock import ManualClock

RATES = {
    "bus away": 0.02,
    "bus wiped": 0.03,
    "delivery delayed": 0.3,
    "delivery doubled": 0.2,
    "delivery lost": 0.3,
    "gateway killed": 0.01,
    "model error": 0.15,
    "out of memory": 0.1,
    "poisoned": 0.12,
    "reply lost": 0.06,
    "request doubled": 0.06,
    "request lost": 0.06,
    "store fails": 0.08,
    "store slow": 0.3,
    "worker dies": 0.12,
    "worker drained": 0.05,
    "worker hangs": 0.15,
    "worker shut down": 0.06,
}
"""How likely each mishap is where it can happen, in a run whose weather has it."""

_MIN_KINDS, _MAX_KINDS = 3, 9
Action = Callable[[], None]


class World:
    """Time, chance and the log of one seed."""

    def __init__(self, seed: int, start: datetime) -> None:
        self.random = random.Random(seed)  # noqa: S311 -- repeatable on purpose
        self.clock = ManualClock(start)
        self.reached: Counter[str] = Counter()
        self.lines: list[str] = []
        self.is_healed = False
        self._start = start
        self._events: list[tuple[datetime, int, Action]] = []
        self._num_events = 0
        # Few kinds at once reach further than a little of each.
        number = self.random.randint(_MIN_KINDS, _MAX_KINDS)
        self.weather = frozenset(self.random.sample(sorted(RATES), number))

    @property
    def elapsed_s(self) -> float:
        """Simulated seconds since the start."""
        return (self.clock.instant - self._start).total_seconds()

    def after(self, seconds: float, action: Action) -> None:
        """Let `action` happen so many seconds from now."""
        self._num_events += 1
        due = self.clock.instant + timedelta(seconds=seconds)
        heapq.heappush(self._events, (due, self._num_events, action))

    def pause(self, seconds: float) -> None:
        """Let so much time pass, with all that happens in it."""
        until = self.clock.instant + timedelta(seconds=seconds)
        while self._events and self._events[0][0] <= until:
            due, _, action = heapq.heappop(self._events)
            self.clock.instant = max(self.clock.instant, due)
            action()
        self.clock.instant = max(self.clock.instant, until)

    def strikes(self, mishap: str) -> bool:
        """Whether `mishap` happens now."""
        if self.is_healed or mishap not in self.weather:
            return False
        happens = self.random.random() < RATES[mishap]
        if happens:
            self.reach(mishap)
        return happens

    def between(self, least: float, most: float) -> float:
        """Some number of seconds, in whole milliseconds."""
        return round(self.random.uniform(least, most), 3)

    def reach(self, situation: str) -> None:
        """A situation worth counting came about."""
        self.reached[situation] += 1
        self.note("reached", situation)

    def note(self, *words: object) -> None:
        """A line of the log."""
        self.lines.append(f"{self.elapsed_s:9.3f} {' '.join(map(str, words))}")

    def hash(self) -> str:
        """Of the whole log."""
        return hashlib.sha256("\n".join(self.lines).encode()).hexdigest()
