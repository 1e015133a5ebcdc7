"""Sends the worker's heartbeats: one thread, one heartbeat for all attempts it holds.

Held is everything from the claim until the report is accepted, so a render that waits for the
gateway keeps its lease while it waits. While nothing is held the heartbeat says that the worker
lives, and whether it can render.
"""

import threading
import time

import structlog

from gateway.protocol import AttemptRef, HeartbeatReply, HeartbeatRequest
from workers.condition import Condition
from workers.gateway_client import GatewayClient, GatewayError

RETRY_S = 1.0
END_S = 2.0
FIRST_HEARTBEAT_S = 10.0
"""Until the gateway has said how often; also for attempts of a former run."""

log = structlog.stdlib.get_logger(__name__)


class LeaseKeeper:
    """Sends heartbeats in its own thread and remembers what the gateway wants dropped."""

    def __init__(
        self, gateway: GatewayClient, worker: str, *, pool: str, condition: Condition
    ) -> None:
        self._gateway = gateway
        self._worker = worker
        self._pool = pool
        self._condition = condition
        self._held: dict[AttemptRef, float] = {}
        self._dropped: set[AttemptRef] = set()
        self._idle_s = FIRST_HEARTBEAT_S
        self._due_at = time.monotonic()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    def start(self) -> None:
        """Begin to send heartbeats, the first at once."""
        self._thread.start()

    def close(self) -> None:
        """Send no more heartbeats."""
        self._is_closed = True
        self._wake.set()
        self._thread.join(END_S)

    def hold(self, job: AttemptRef, heartbeat_s: float = FIRST_HEARTBEAT_S) -> None:
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
                self._wake.wait(wait_s)
                self._wake.clear()
                continue
            with self._lock:
                held = dict(self._held)
                self._due_at = time.monotonic() + min(held.values(), default=self._idle_s)
            if not self._beat(list(held)) and held:
                with self._lock:
                    self._due_at = min(self._due_at, time.monotonic() + RETRY_S)

    def _beat(self, held: list[AttemptRef]) -> bool:
        request = HeartbeatRequest(
            worker=self._worker,
            pool=self._pool,
            held=held,
            loaded_models=list(self._condition.loaded_models),
            unfit=self._condition.unfit,
        )
        try:
            reply = self._gateway.heartbeat(request)
        except GatewayError as error:
            log.warning("heartbeat_failed", reason=str(error), held=len(held))
            return False
        self._hear(reply, held)
        return True

    def _hear(self, reply: HeartbeatReply, held: list[AttemptRef]) -> None:
        self._condition.heed_drain(is_draining=reply.is_draining)
        with self._lock:
            self._idle_s = reply.heartbeat_s
            self._due_at = min(self._due_at, time.monotonic() + self._idle_s)
            # Only what the heartbeat named: a newer attempt may have been claimed meanwhile.
            self._dropped.update(
                job for job in held if job.job_id in reply.drop and job in self._held
            )
