"""What the nemesis will do: a list of faults that a seed decides alone.

Every fault there is comes once before any comes twice, so a run of a minute has had them all.
Between two rounds, those that spare the workers come once more: a renderer that has just begun to
load its model tells little.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain, cycle, islice

EVERY_S = 1.75
MIN_FAULTS = 34
HOLD_S = (0.8, 5.5)
RESTART_S = (0.1, 1.0)

HOSTS = ("host-1", "host-2")
PROCESSES = ("gateway", "valkey", *HOSTS)
RENDERERS = {f"renderer of {host}": host for host in HOSTS}


class Act(StrEnum):
    """What is done to a target. The first four are done to processes, the others to wires."""

    KILL = "kill"
    PAUSE = "pause"
    RESTART = "restart"
    WIPE = "wipe"
    CUT = "cut"
    DELAY = "delay"
    SLOW = "slow"
    HALF_OPEN = "half_open"
    DROP = "drop"


WIRE_ACTS = (Act.CUT, Act.DELAY, Act.SLOW, Act.HALF_OPEN)


@dataclass(frozen=True)
class Fault:
    """`act` is done to `target`, and undone after `hold_s` seconds, where it needs undoing."""

    act: Act
    target: str
    hold_s: float = 0.0

    @property
    def name(self) -> str:
        """What is done to whom."""
        return f"{self.act} {self.target}"


def wires_of(database: str) -> tuple[str, ...]:
    """The wires that a system over `database` has."""
    return ("redis", "http", "database") if database == "postgresql" else ("redis", "http")


def every_fault(database: str) -> list[Fault]:
    """Each kind of fault, once."""
    on_processes = [
        *(Fault(act, part) for act in (Act.KILL, Act.PAUSE) for part in (*PROCESSES, *RENDERERS)),
        *(Fault(Act.RESTART, part) for part in PROCESSES),
        Fault(Act.WIPE, "valkey"),
    ]
    on_wires = [Fault(act, wire) for act in WIRE_ACTS for wire in wires_of(database)]
    drops = [Fault(Act.DROP, "database")] if database == "postgresql" else []
    return [*on_processes, *on_wires, *drops]


def plan_faults(seed: int, seconds: float, database: str) -> list[Fault]:
    """The faults of a run, in order; never fewer than `MIN_FAULTS`."""
    number = max(MIN_FAULTS, int(seconds / EVERY_S))
    chance = random.Random(seed)  # noqa: S311 -- a choice, not a secret
    return list(islice(chain.from_iterable(_decks(chance, database)), number))


def host_of(fault: Fault) -> str | None:
    """The worker host that the fault strikes, if any."""
    return fault.target if fault.target in HOSTS else RENDERERS.get(fault.target)


def _decks(chance: random.Random, database: str) -> Iterator[list[Fault]]:
    every = every_fault(database)
    for deck in cycle([every, [fault for fault in every if host_of(fault) is None]]):
        yield [_held(fault, chance) for fault in chance.sample(deck, len(deck))]


def _held(fault: Fault, chance: random.Random) -> Fault:
    hold_s = RESTART_S if fault.act in (Act.KILL, Act.RESTART) else HOLD_S
    return Fault(fault.act, fault.target, chance.uniform(*hold_s))
