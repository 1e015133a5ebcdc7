"""Who is next: weighted fair queueing over tiers, and over accounts inside a tier.

Every lane has a pass: the device-seconds it was served, divided by its weight. The lane with the
least pass is next. The claim transaction, the forecast and the tests all call the functions here;
`docs/05-fair-queue.md` says what the rule promises. Start-time fair queueing: Goyal, Vin and Cheng,
SIGCOMM 1996; passes and strides: Waldspurger and Weihl, MIT/LCS/TM-528, 1995.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from models.spec import BatchKey

LOOKAHEAD = 16
"""Lanes of a tier that one pick looks at, the least served first."""


@dataclass(frozen=True)
class Ticket:
    """A job that waits. `cost_s`: the device-seconds it is expected to take."""

    job_id: str
    batch_key: BatchKey
    cost_s: float

    @property
    def model(self) -> str:
        """The model it needs."""
        _kind, model, *_ = self.batch_key
        return model


@dataclass
class Lane:
    """The waiting jobs of one account in one pool, the oldest first.

    Attributes:
        room: how many more jobs of the account may run now.
        pass_s: device-seconds served.
    """

    account_id: str
    room: int
    tickets: deque[Ticket] = field(default_factory=deque)
    pass_s: float = 0.0

    @property
    def is_waiting(self) -> bool:
        """Whether it takes part: something waits and may run."""
        return bool(self.tickets) and self.room > 0

    @property
    def order(self) -> tuple[float, str]:
        """What lanes of a tier are sorted by."""
        return self.pass_s, self.account_id


@dataclass
class Tier:
    """The accounts of one plan.

    Attributes:
        weight: its share beside other tiers that wait.
        pass_s: device-seconds served, divided by the weight.
        time_s: virtual time among its lanes when one of them was last served.
        lanes: those that wait, in order; change them through the functions here.
    """

    id: str
    weight: int
    pass_s: float = 0.0
    time_s: float = 0.0
    lanes: list[Lane] = field(default_factory=list)

    @property
    def virtual_time_s(self) -> float:
        """Where a lane that wakes begins."""
        return self.lanes[0].pass_s if self.lanes else self.time_s


@dataclass
class Pool:
    """Everything that one kind of worker could serve. `time_s`: as in a tier, among the tiers."""

    tiers: dict[str, Tier] = field(default_factory=dict)
    time_s: float = 0.0

    @property
    def waiting(self) -> list[Tier]:
        """Tiers that take part, the least served first."""
        waiting = [tier for tier in self.tiers.values() if tier.lanes]
        return sorted(waiting, key=lambda tier: (tier.pass_s, tier.id))

    @property
    def virtual_time_s(self) -> float:
        """Where a tier that wakes begins."""
        return min((tier.pass_s for tier in self.tiers.values() if tier.lanes), default=self.time_s)


@dataclass(frozen=True)
class Pick:
    """A lane that is to be served, with its oldest job."""

    tier: Tier
    lane: Lane
    ticket: Ticket


def pick(
    pool: Pool,
    *,
    loaded_model: str | None = None,
    swap_s: float = 0.0,
    batch_key: BatchKey | None = None,
) -> Pick | None:
    """The lane to serve now; None if nothing may run. Changes nothing.

    A job of `loaded_model` is taken before the fairest one if its lane is at most `swap_s`
    device-seconds ahead. With `batch_key` a job joins a batch: only one of this key will do, ahead
    by at most `swap_s` or what the fairest job takes, whichever is more.
    """
    fairest = next(_candidates(pool, float("inf")), None)
    if fairest is None:
        return None
    if batch_key is not None:
        slack_s = max(swap_s, fairest.ticket.cost_s)
        return _find(pool, slack_s, lambda ticket: ticket.batch_key == batch_key)
    if loaded_model is None or fairest.ticket.model == loaded_model:
        return fairest
    return _find(pool, swap_s, lambda ticket: ticket.model == loaded_model) or fairest


def charge(pool: Pool, chosen: Pick) -> None:
    """Serve a pick: its job leaves the lane, and lane and tier pay for it."""
    tier, lane = chosen.tier, chosen.lane
    pool.time_s = max(pool.time_s, pool.virtual_time_s)
    tier.time_s = max(tier.time_s, tier.virtual_time_s)
    drop(tier, lane)
    lane.tickets.popleft()
    lane.room -= 1
    lane.pass_s += chosen.ticket.cost_s
    tier.pass_s += chosen.ticket.cost_s / tier.weight
    if lane.is_waiting:
        insort(tier.lanes, lane, key=_order)


def serve(
    pool: Pool,
    *,
    room: int,
    loaded_model: str | None = None,
    swap_s: float = 0.0,
    batch_room: Callable[[BatchKey], int] | None = None,
    admit: Callable[[Tier, Lane], bool] | None = None,
) -> list[Pick]:
    """One claim: the next job, and more of its batch key while `room` and `batch_room` allow.

    `admit` looks at a lane before it is served: it may bring its jobs and its room up to date, and
    answers whether it takes part.
    """
    served: list[Pick] = []
    key: BatchKey | None = None
    while len(served) < room:
        chosen = pick(pool, loaded_model=loaded_model, swap_s=swap_s, batch_key=key)
        if chosen is None:
            break
        if admit is not None and not admit(chosen.tier, chosen.lane):
            drop(chosen.tier, chosen.lane)
            continue
        if chosen.lane.tickets[0] != chosen.ticket:
            continue
        charge(pool, chosen)
        served.append(chosen)
        if key is None:
            key = chosen.ticket.batch_key
            room = min(room, batch_room(key)) if batch_room else room
    return served


def wake(pool: Pool, tier: Tier, lane: Lane) -> None:
    """Let a lane take part that was empty or full; time it stood aside earns nothing."""
    if not tier.lanes:
        tier.pass_s = max(tier.pass_s, pool.virtual_time_s)
    lane.pass_s = max(lane.pass_s, tier.virtual_time_s)
    insort(tier.lanes, lane, key=_order)


def drop(tier: Tier, lane: Lane) -> None:
    """Take a lane out; nothing happens if it takes no part."""
    index = bisect_left(tier.lanes, lane.order, key=_order)
    if index < len(tier.lanes) and tier.lanes[index] is lane:
        del tier.lanes[index]


def correct(tier: Tier, lane: Lane, excess_s: float) -> None:
    """A job took `excess_s` device-seconds more than was charged for it; less, if negative."""
    takes_part = lane.is_waiting
    if takes_part:
        drop(tier, lane)
    lane.pass_s += excess_s
    tier.pass_s += excess_s / tier.weight
    if takes_part:
        insort(tier.lanes, lane, key=_order)


def _find(pool: Pool, slack_s: float, fits: Callable[[Ticket], bool]) -> Pick | None:
    return next((each for each in _candidates(pool, slack_s) if fits(each.ticket)), None)


def _candidates(pool: Pool, slack_s: float) -> Iterator[Pick]:
    """Heads of lanes by pass, those at most `slack_s` device-seconds ahead at both levels."""
    waiting = pool.waiting
    for tier in waiting:
        if (tier.pass_s - waiting[0].pass_s) * tier.weight > slack_s:
            continue
        for lane in tier.lanes[:LOOKAHEAD]:
            if lane.pass_s - tier.lanes[0].pass_s > slack_s:
                break
            yield Pick(tier, lane, lane.tickets[0])


def _order(lane: Lane) -> tuple[float, str]:
    return lane.order
