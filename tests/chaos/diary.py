"""What clients were told, kept apart from the system that told them."""

import threading
from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Breach:
    """A promise that was not kept. `detail` names whose."""

    rule: str
    detail: str


@dataclass
class Diary:
    """Shared by all threads; every method takes the lock.

    Attributes:
        acked: account id by job, for every submit that was answered with a job.
        ended: the final state a client has seen, by job.
        deleted: jobs whose deletion was answered.
        counts: how often something was observed.
        breaches: what clients saw that must not be.
    """

    acked: dict[str, str] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)
    breaches: list[Breach] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, what: str) -> None:
        """It was observed once more."""
        with self._lock:
            self.counts[what] += 1

    def blame(self, rule: str, detail: str) -> None:
        """A promise was broken before a client's eyes."""
        with self._lock:
            self.breaches.append(Breach(rule, detail))

    def ack(self, job_id: str, account_id: str) -> None:
        """A submit was answered with this job."""
        with self._lock:
            self.acked[job_id] = account_id

    def note_end(self, job_id: str, state: str) -> None:
        """A client saw the job in a final state, in which it has to stay."""
        with self._lock:
            seen = self.ended.setdefault(job_id, state)
            if seen != state:
                self.breaches.append(
                    Breach("a job left its final state", f"{job_id}: {seen}, then {state}")
                )

    def note_deleted(self, job_id: str) -> None:
        """A deletion was answered."""
        with self._lock:
            self.deleted.add(job_id)
