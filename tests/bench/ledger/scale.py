"""How long a submit takes in a database that is new, and in one that has months behind it."""

import random
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass

from gateway.db.session import Database
from tests.bench.ledger.backends import Backend
from tests.bench.ledger.figures import Figures, summarise
from tests.bench.ledger.past.frame import Frame
from tests.bench.ledger.workload import Latency, Request, Workload, make_requests, send

WARM_UP = 60


@dataclass(frozen=True)
class Scale:
    """Both sizes."""

    small: Figures
    large: Figures

    @property
    def ratio(self) -> float:
        """Median latency in the large database, that in the small one being 1."""
        return self.large.p50_ms / self.small.p50_ms


@dataclass(frozen=True)
class _Side:
    database: Database
    requests: Iterator[Request]
    rounds: list[list[Latency]]

    def run(self, num_submits: int, workload: Workload) -> list[Latency]:
        return [send(self.database, next(self.requests), workload) for _ in range(num_submits)]


def measure_scale(
    backend: Backend,
    frames: Mapping[str, Frame],
    *,
    num_rounds: int,
    num_submits: int,
    workload: Workload,
    rng: random.Random,
) -> Scale:
    """Submit in the two databases of `frames`, the small one first, in alternating rounds.

    Accounts are drawn at random from all there are; each round begins with the other database.
    """
    count = WARM_UP + num_rounds * num_submits
    with ExitStack() as stack:
        small, large = (
            _Side(
                stack.enter_context(closing(Database(backend.url(name)))),
                iter(_draw(frame, count, workload, rng)),
                [],
            )
            for name, frame in frames.items()
        )
        for side in (small, large):
            side.run(WARM_UP, workload)
        for number in range(num_rounds):
            for side in (large, small) if number % 2 else (small, large):
                side.rounds.append(side.run(num_submits, workload))
    return Scale(summarise(small.rounds), summarise(large.rounds))


def _draw(frame: Frame, count: int, workload: Workload, rng: random.Random) -> list[Request]:
    return make_requests(workload, rng.choices(frame.account_ids(), k=count), frame.now)
