"""Workers that follow the protocol of `workers/` without threads, and fall ill on the way.

listening --delivery--> claiming --jobs--> rendering --> reporting, while listening again
Dead: everything but the spool is gone, until it starts again. Hung: no heartbeat, no step and no
report for a while, then on as if nothing had been.
"""

import contextlib
import io
from collections.abc import Callable
from typing import TypeVar

from gateway.api.worker.routes import claim_jobs, complete_job, fail_job, heartbeat
from gateway.api.worker.uploads import check_attempt
from gateway.domain.errors import GatewayError, StaleAttempt, Unavailable
from gateway.jobs.files import artifact_key, store_file
from gateway.protocol import (
    ArtifactRole,
    ClaimRequest,
    FailureCode,
    HeartbeatRequest,
)
from gateway.services import Services
from tests.simulation.attempts import MP4, VIDEO, Held, complete_request, fail_request
from tests.simulation.bus import Redis
from tests.simulation.clients import POISON
from tests.simulation.gateway import Gateway, Unreachable
from tests.simulation.settings import HEARTBEAT_S, LEASE_S, SWAP_S
from tests.simulation.watch import Actor, Broken

T = TypeVar("T")
MAX_UNREPORTED = 1


class Worker:
    """One worker host. `num_lives`: how often it was started."""

    def __init__(self, name: str, pool: str, gateway: Gateway, redis: Redis) -> None:
        self.name = name
        self.held: list[Held] = []
        self._pool = pool
        self._gateway = gateway
        self._world = gateway.world
        self._redis = redis
        self._model: str | None = None
        self._num_lives = 0
        self._is_hung = False

    def start(self) -> None:
        """A new life: what the spool kept is reported first."""
        self._num_lives += 1
        self._is_hung = False
        self._model = None
        self.held = [held for held in self.held if held.is_in_spool]
        self._world.note(self.name, "starts with", len(self.held), "in its spool")
        # What is reported leaves the list.
        for held in list(self.held):
            held.is_uploaded = False
            self._report(held)
        self._alive(HEARTBEAT_S, self._beat)
        self._listen()

    def heal(self) -> None:
        """It hangs no longer."""
        self._is_hung = False

    def _alive(self, seconds: float, action: Callable[[], None]) -> None:
        """Later, if this life lasts; what hangs does it when it moves again."""
        life = self._num_lives

        def act() -> None:
            if life != self._num_lives:
                return
            if self._is_hung:
                self._world.after(1.0, act)
                return
            action()

        self._world.after(seconds, act)

    def _die(self) -> None:
        self._num_lives += 1
        self._world.note(self.name, "dies")
        self._world.after(self._world.between(1, 2 * LEASE_S), self.start)

    def _hang(self) -> None:
        self._is_hung = True
        self._world.note(self.name, "hangs")
        self._world.after(self._world.between(5, 2.5 * LEASE_S), self.heal)

    # Claiming

    def _listen(self) -> None:
        life = self._num_lives

        def hear() -> None:
            if life == self._num_lives:
                self._alive(0, self._take_delivery)
            else:
                # The connection of a dead worker takes nothing.
                self._redis.call(self._pool)

        self._redis.listen(self._pool, hear)

    def _take_delivery(self) -> None:
        if self._redis.pop(self._pool) is None:
            self._listen()
            return
        self._serve_delivery()

    def _serve_delivery(self) -> None:
        """Claim once what was rendered is reported."""
        if sum(held.needs_report for held in self.held) > MAX_UNREPORTED:
            self._alive(1.0, self._serve_delivery)
            return
        try:
            jobs = self._claim()
        except Unreachable:
            self._alive(self._world.between(0.5, 4), self._serve_delivery)
            return
        if not jobs:
            self._listen()
            return
        if len(jobs) > 1:
            self._world.reach("batch")
        self._render(jobs)

    def _claim(self) -> list[Held]:
        card = next((card for card in self._gateway.cards if card.id == self._model), None)
        request = ClaimRequest(
            pool=self._pool,
            worker=self.name,
            loaded_model=self._model,
            room=card.max_room if card else 1,
        )
        actor = Actor("claim", self.name, self._pool)
        reply = self._gateway.call(actor, lambda services: claim_jobs(request, services))
        if len({job.spec.batch_key for job in reply.jobs}) > 1 or len(reply.jobs) > request.room:
            raise Broken(f"{self.name} with room {request.room} got {len(reply.jobs)} jobs")
        jobs = [Held(job) for job in reply.jobs]
        mine = {held.job.job_id for held in jobs}
        for older in self.held:
            older.is_unwanted = older.is_unwanted or older.job.job_id in mine
        self.held += jobs
        return jobs

    # Rendering

    def _render(self, jobs: list[Held]) -> None:
        world = self._world
        card = next(card for card in self._gateway.cards if card.id == jobs[0].job.spec.model)
        if len(jobs) > card.batch_room(jobs[0].job.spec.size):
            raise Broken(f"{len(jobs)} jobs of {card.id} in one batch")
        load_s = 0.0 if self._model == card.id else SWAP_S
        if load_s and self._model:
            world.reach("swap")
        self._model = card.id
        render_s = world.between(2, 14)
        if world.strikes("worker dies"):
            self._alive(load_s + world.between(0, render_s), self._die)
        if world.strikes("worker hangs"):
            self._alive(load_s + world.between(0, render_s), self._hang)
        if world.strikes("worker shut down"):
            self._alive(load_s + world.between(0, render_s), lambda: self._shut_down(jobs))
        if world.strikes("worker drained"):
            self._gateway.drain(self.name, is_draining=True)
            world.after(
                world.between(5, 30), lambda: self._gateway.drain(self.name, is_draining=False)
            )
        for step in (0.3, 0.6):
            self._alive(load_s + step * render_s, lambda: self._hear_cancels(jobs))
        self._alive(load_s + render_s, lambda: self._end_batch(jobs, load_s + render_s))

    def _hear_cancels(self, jobs: list[Held]) -> None:
        if self._redis.is_away:
            return
        for held in jobs:
            if held.job.job_id in self._redis.canceled and not held.is_unwanted:
                held.is_unwanted = True
                if len(jobs) > 1:
                    self._world.reach("batch with one cancel")

    def _end_batch(self, jobs: list[Held], render_s: float) -> None:
        world = self._world
        for held in jobs:
            if held not in self.held or held.needs_report:
                continue
            if held.is_unwanted:
                self._forget(held)
                continue
            if held.job.spec.prompt == POISON:
                held.failure = FailureCode.RENDERER_CRASHED
                world.reach("poisoned job crashed its renderer")
                self._model = None
            elif any(file.url not in self._gateway.files.by_key for file in held.job.inputs):
                held.failure = FailureCode.INPUT_UNREADABLE
            elif world.strikes("out of memory"):
                held.failure = FailureCode.OUT_OF_MEMORY
            elif world.strikes("model error"):
                held.failure = FailureCode.MODEL_ERROR
            else:
                held.is_in_spool = True
            self._report(held, render_s)
        self._alive(0.1, self._take_delivery)

    def _shut_down(self, jobs: list[Held]) -> None:
        """Hand back what runs, report, stop, start anew."""
        for held in jobs:
            if not held.needs_report:
                held.failure = FailureCode.WORKER_LOST
                self._report(held)
        self._alive(3.0, self._die)

    # Reporting

    def _report(self, held: Held, render_s: float = 5.0) -> None:
        if held not in self.held:
            return
        if held.is_uploaded and self._world.strikes("worker hangs"):
            self._hang()
            self._alive(0, lambda: self._report(held, render_s))
            return
        if held.is_unwanted:
            self._forget(held)
            return
        try:
            is_done = self._tell(held, render_s)
        except StaleAttempt:
            is_zombie = self._gateway.watch.jobs[held.job.job_id].attempt > held.job.attempt
            self._world.reach("zombie reported" if is_zombie else "stale report refused")
            self._forget(held)
        except (Unavailable, Unreachable):
            held.tries += 1
            pause_s = self._world.between(0.5, min(2**held.tries, 8))
            self._alive(pause_s, lambda: self._report(held, render_s))
        except GatewayError:
            self._world.reach("report refused")
            self._fail_refused(held)
        else:
            if is_done:
                self._forget(held)
            else:
                self._alive(0.2, lambda: self._report(held, render_s))

    def _tell(self, held: Held, render_s: float) -> bool:
        """The next call of the report; whether it was the last."""
        job_id, number = held.job.job_id, held.job.attempt
        if held.failure is not None:
            failure = fail_request(held, held.failure)
            self._call("fail", held, lambda services: fail_job(job_id, failure, services))
            return True
        if not held.is_uploaded:
            key = artifact_key(job_id, number, ArtifactRole.VIDEO)
            self._call("other", held, lambda services: check_attempt(services, job_id, number))
            # While the body is on its way, everything else goes on.
            self._world.pause(self._world.between(0, 2))
            self._call(
                "other",
                held,
                lambda services: store_file(services.store, key, io.BytesIO(VIDEO), MP4),
            )
            held.is_uploaded = True
            return False
        request = complete_request(held, render_s)
        self._call("complete", held, lambda services: complete_job(job_id, request, services))
        return True

    def _fail_refused(self, held: Held) -> None:
        failure = fail_request(held, FailureCode.WORKER_LOST)
        job_id = held.job.job_id
        # If nobody hears of it, its lease ends by itself.
        with contextlib.suppress(GatewayError, Unreachable):
            self._call("fail", held, lambda services: fail_job(job_id, failure, services))
        self._forget(held)

    def _call(self, kind: str, held: Held, do: Callable[[Services], T]) -> T:
        return self._gateway.call(Actor(kind, self.name, self._pool, held.ref), do)

    def _forget(self, held: Held) -> None:
        if held in self.held:
            self.held.remove(held)

    # Leases

    def _beat(self) -> None:
        self._alive(HEARTBEAT_S, self._beat)
        if not self.held:
            return
        request = HeartbeatRequest(
            worker=self.name, pool=self._pool, held=[held.ref for held in self.held]
        )
        try:
            reply = self._gateway.call(
                Actor("heartbeat", self.name), lambda services: heartbeat(request, services)
            )
        except Unreachable:
            return
        for held in self.held:
            if held.job.job_id in reply.drop and held.ref in request.held:
                held.is_unwanted = True
