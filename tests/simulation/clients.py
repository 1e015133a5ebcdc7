"""What accounts do: submit, send again, cancel, delete, look, change their plan."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from fastapi import Response

from gateway.accounts.service import Caller, Scope
from gateway.api.v1.create import place_order
from gateway.api.v1.videos import cancel_job, delete_video, look
from gateway.domain.errors import GatewayError, NotFound
from gateway.ids import JOB_PREFIX, new_id
from gateway.jobs.idempotency import KEY_TTL, RequestIdentity
from gateway.jobs.images import NormalisedImage
from gateway.jobs.submit import Order, Placed
from gateway.points.service import refresh
from gateway.points.subscriptions import change_plan
from gateway.services import Services
from models.card import ModelCard
from models.spec import Kind, VideoSpec
from tests.simulation.gateway import Gateway, Unreachable
from tests.simulation.settings import CAPS
from tests.simulation.watch import OPEN, Actor, Broken

POISON = "poison"
MAX_TRIES = 4
LIKENESS = 0.6
PICTURE = NormalisedImage(b"png", hashlib.sha256(b"png").hexdigest(), 64, 64)


@dataclass
class Wish:
    """A request, which the client sends until it is answered. `job_id`: of the answer."""

    key: str
    card: ModelCard
    spec: VideoSpec
    tries: int = 0
    job_id: str | None = None


@dataclass
class Client:
    """One account."""

    name: str
    account_id: str
    gateway: Gateway
    wishes: list[Wish] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._world = self.gateway.world
        self._caller = Caller(self.account_id, "key", is_suspended=False, scope=Scope.CLIENT)

    def submit(self) -> None:
        """Wish for a new video."""
        random = self._world.random
        # Batches need jobs that are alike.
        cards = self.gateway.cards
        card = cards[0] if random.random() < LIKENESS else random.choice(cards)
        prompt = POISON if self._world.strikes("poisoned") else "x"
        is_plain = random.random() < LIKENESS
        spec = card.example(
            kind=Kind.TEXT_TO_VIDEO if is_plain else Kind.IMAGE_TO_VIDEO,
            mode=card.default_mode,
            size=card.sizes[0],
            fps=card.fps[0],
            seconds=card.seconds[0],
            prompt=prompt,
        )
        wish = Wish(f"{self.name}-{len(self.wishes)}", card, spec)
        self.wishes.append(wish)
        self._send(wish)

    def submit_some(self) -> None:
        """Wish for several at once."""
        for _ in range(3):
            self.submit()

    def send_again(self) -> None:
        """Send a request again that was answered."""
        answered = [wish for wish in self.wishes if wish.job_id]
        if answered:
            self._send(self._world.random.choice(answered))

    def cancel(self) -> None:
        """Cancel a job, which ends at once."""
        job_id = self._some_job()
        if job_id is None:
            return
        if self._ask("cancel", lambda services: cancel_job(services, self._caller, job_id)):
            state = self.gateway.watch.jobs[job_id].state
            if state in OPEN:
                raise Broken(f"{job_id} was canceled and is {state}")

    def delete(self) -> None:
        """Delete a job."""
        job_id = self._some_job()
        if job_id is None:
            return
        if self._ask("cancel", lambda services: delete_video(job_id, self._caller, services)):
            self._world.reach("deleted")

    def look(self) -> None:
        """Ask for a job, with its forecast."""
        job_id = self._some_job()
        if job_id is not None:
            self._ask("other", lambda services: look(services, self._caller, job_id, Response()))

    def change_plan(self) -> None:
        """Buy another plan."""
        plan = self._world.random.choice(sorted(CAPS))

        def change(services: Services) -> None:
            plans, now = services.configuration.plans, services.clock.now()
            with services.database.write() as connection:
                refresh(connection, self.account_id, plans=plans, now=now)
                change_plan(connection, self.account_id, plans.get(plan), plans=plans, now=now)

        if self._ask("other", change):
            self._world.reach("plan changed")

    def _send(self, wish: Wish) -> None:
        wish.tries += 1
        try:
            placed = self.gateway.call(
                Actor("submit"), lambda services: self._place(services, wish)
            )
        except GatewayError as refusal:
            self._world.note(self.name, "was refused", refusal.code)
            self._world.reach(f"refused: {refusal.code}")
            return
        except Unreachable:
            if wish.tries <= MAX_TRIES:
                self._world.after(self._world.between(0.5, 4), lambda: self._send(wish))
            return
        if wish.job_id not in {None, placed.job_id}:
            raise Broken(f"{wish.key} made {wish.job_id} and {placed.job_id}")
        if placed.is_replay:
            self._world.reach("replay")
        wish.job_id = placed.job_id

    def _place(self, services: Services, wish: Wish) -> Placed:
        fingerprint = hashlib.sha256(wish.key.encode()).hexdigest()
        order = Order(
            job_id=new_id(JOB_PREFIX, services.clock.now()),
            card=wish.card,
            spec=wish.spec,
            image=PICTURE if wish.spec.kind is Kind.IMAGE_TO_VIDEO else None,
            client_metadata={},
            identity=RequestIdentity(f"key:{wish.key}", fingerprint, KEY_TTL, replays=True),
        )
        return place_order(services, self._caller, order)

    def _ask(self, kind: str, do: Callable[[Services], object]) -> bool:
        """Whether it was done."""
        try:
            self.gateway.call(Actor(kind), do)
        except NotFound:
            return False
        except Unreachable:
            return False
        return True

    def _some_job(self) -> str | None:
        mine = [wish.job_id for wish in self.wishes if wish.job_id]
        return self._world.random.choice(mine) if mine else None
