"""Keeps the leases of held attempts alive: one thread, one heartbeat for all of them.

Held is everything from the claim until the report is accepted, so a render that waits for the
gateway keeps its lease while it waits.
"""

import threading
import time

import structlog

from gateway.protocol import AttemptRef, HeartbeatRequest
from workers.gateway_client import GatewayClient, GatewayError

RETRY_S = 1.0
END_S = 2.0
LEFTOVER_HEARTBEAT_S = 10.0
"""For attempts of a former run, whose assignment is no longer known."""

log = structlog.stdlib.get_logger(__name__)


class LeaseKeeper:
    """Sends heartbeats in its own thread and remembers what the gateway wants dropped."""

    def __init__(self, gateway: GatewayClient, worker: str) -> None:
        self._gateway = gateway
        self._worker = worker
        self._held: dict[AttemptRef, float] = {}
        self._dropped: set[AttemptRef] = set()
        self._due_at = float("inf")
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    def start(self) -> None:
        """Begin to send heartbeats, of which there are none while nothing is held."""
        self._thread.start()

    def close(self) -> None:
        """Send no more heartbeats."""
        self._is_closed = True
        self._wake.set()
        self._thread.join(END_S)

    def hold(self, job: AttemptRef, heartbeat_s: float = LEFTOVER_HEARTBEAT_S) -> None:
        """Keep the lease of `job`; an earlier attempt of it is over and counts as dropped."""
        with self._lock:
            for older in [held for held in self._held if held.job_id == job.job_id]:
                del self._held[older]
                self._dropped.add(older)
            self._held[job] = heartbeat_s
            self._due_at = min(self._due_at, time.monotonic() + heartbeat_s)
        self._wake.set()

    def release(self, job: AttemptRef) -> None:
        """The attempt is reported, or nobody's business any more."""
        with self._lock:
            self._held.pop(job, None)
            self._dropped.discard(job)

    def is_dropped(self, job: AttemptRef) -> bool:
        """Whether the gateway wants this attempt dropped at once."""
        return job in self._dropped

    def _run(self) -> None:
        while not self._is_closed:
            wait_s = self._due_at - time.monotonic()
            if wait_s > 0:
                self._wake.wait(None if wait_s == float("inf") else wait_s)
                self._wake.clear()
                continue
            with self._lock:
                held = dict(self._held)
                self._due_at = time.monotonic() + min(held.values(), default=float("inf"))
            if held and not self._beat(list(held)):
                with self._lock:
                    self._due_at = min(self._due_at, time.monotonic() + RETRY_S)

    def _beat(self, held: list[AttemptRef]) -> bool:
        try:
            reply = self._gateway.heartbeat(HeartbeatRequest(worker=self._worker, held=held))
        except GatewayError as error:
            log.warning("heartbeat_failed", reason=str(error), held=len(held))
            return False
        with self._lock:
            # Only what the heartbeat named: a newer attempt may have been claimed meanwhile.
            self._dropped.update(
                job for job in held if job.job_id in reply.drop and job in self._held
            )
        return True
