"""Whether this worker can render: a child with a model on the device, and room in the spool.

A worker that is unfit claims nothing, so a broken machine cannot eat the queue. Every setback in a
row doubles the wait, up to a minute; a finished job forgets them. After several failures that
point at the machine, a child that loads is not enough: a self-test has to succeed.
"""

import time
from collections.abc import Callable, Sequence

import structlog

from gateway.protocol import FailCode, FailureCode
from models.card import ModelCard
from models.weights import find_problem
from workers.child_process import ChildDied, ChildProcess
from workers.condition import Condition
from workers.messages import Event, Load, Loaded, LoadFailed, SelfTest, SelfTested
from workers.quarantine import MACHINE_FAULTS, Quarantine
from workers.retrying import TICK_S, backoff_s, pause
from workers.settings import WorkerSettings
from workers.spool import Spool

MAX_WAIT_S = 60.0

log = structlog.stdlib.get_logger(__name__)


class Fitness:
    """Owns the child and the memory of what went wrong; main thread only.

    `cards` are the models it has to serve, the one to begin with first. `should_stop` is asked
    several times a second while something is waited for.
    """

    def __init__(
        self,
        cards: Sequence[ModelCard],
        settings: WorkerSettings,
        spool: Spool,
        condition: Condition,
        should_stop: Callable[[], bool],
    ) -> None:
        self._cards = cards
        self._default = self._card = cards[0]
        self._settings = settings
        self._spool = spool
        self._condition = condition
        self._should_stop = should_stop
        self._child: ChildProcess | None = None
        self._is_disk_full = False
        self._quarantine = Quarantine(settings.quarantine_after)
        self._waits = backoff_s(MAX_WAIT_S)

    @property
    def loaded_model(self) -> str | None:
        """The id of the model on the device, of several the one used last."""
        return self._child.loaded_model if self._child and self._child.is_ready else None

    def restore(self) -> None:
        """Wait until a claimed job could be rendered here, or the worker is to stop."""
        while not self._should_stop():
            if (
                self._has_room()
                and self._has_weights()
                and self._has_model()
                and self._is_trusted()
            ):
                self._condition.become_fit(self._child.loaded_models if self._child else ())
                return
            self.suffer_setback()

    def is_fit(self) -> bool:
        """Whether nothing is known that stands against a claim; waits for nothing."""
        if self._condition.unfit is not None or self._child is None or not self._child.is_ready:
            return False
        self._condition.become_fit(self._child.loaded_models)
        return True

    def child_for(self, card: ModelCard) -> ChildProcess:
        """The child, which will load `card` when it is given work; a new one where none lives."""
        self._card = card
        if self._child is None:
            self._child = ChildProcess(
                device=self._settings.device,
                model_budget_bytes=self._settings.model_budget_bytes,
                log_level=self._settings.log_level,
            )
        return self._child

    def look_after(self, codes: set[FailCode]) -> None:
        """After a batch with these failures: end a child that is no longer sound."""
        for code in sorted(codes & MACHINE_FAULTS):
            self._blame(code.value)
        if self._child is None:
            return
        if not self._child.is_ready:
            self._end_broken_child()
            self.suffer_setback()
        elif FailureCode.OUT_OF_MEMORY in codes:
            # What it still holds, or how scattered, is unknown.
            self.end_child()

    def suffer_setback(self) -> None:
        """Wait, longer each time in a row."""
        wait_s = next(self._waits)
        log.warning("worker_unfit", next_try_s=wait_s)
        pause(wait_s, self._should_stop)

    def forget_setbacks(self) -> None:
        """Something was rendered, so this machine works."""
        self._waits = backoff_s(MAX_WAIT_S)
        self._quarantine.clear()

    def note_disk_full(self) -> None:
        """A file did not fit; `restore` waits until one does."""
        if not self._is_disk_full:
            log.error("disk_full", spool=self._settings.spool_dir.name)
            self._condition.become_unfit("the spool takes no file")
        self._is_disk_full = True

    def end_child(self) -> None:
        """End the child, whatever it does."""
        if self._child is not None:
            self._child.kill()
            self._child = None
            self._condition.loaded_models = ()

    def _blame(self, what: str) -> None:
        self._quarantine.blame(what)
        if self._quarantine.reason is not None:
            self._condition.become_unfit(self._quarantine.reason)

    def _end_broken_child(self) -> None:
        if self._child is not None and self._child.load_failure is not None:
            self._condition.become_unfit(self._child.load_failure)
            self._blame(self._child.load_failure)
            # One broken model must not keep a worker from serving the others.
            self._card = self._default
        self.end_child()

    def _has_room(self) -> bool:
        if self._is_disk_full:
            self._is_disk_full = not self._spool.has_room()
        return not self._is_disk_full

    def _has_weights(self) -> bool:
        """Whether the weights of all models are here, so that no customer's job finds out."""
        problems = [
            f"model {card.id}: {problem}" for card in self._cards if (problem := find_problem(card))
        ]
        if problems:
            log.error("weights_missing", problems=problems)
            self._condition.become_unfit("; ".join(problems))
        return not problems

    def _has_model(self) -> bool:
        """Whether the child lives with a model, after waiting for it to load."""
        child = self.child_for(self._card)
        if not child.is_ready:
            self._give(Load(self._card), Loaded)
        return self._child is not None and self._child.is_ready

    def _is_trusted(self) -> bool:
        """Whether the machine is not in quarantine, or earns its way out now."""
        if self._quarantine.reason is None:
            return True
        result = self._give(SelfTest(self._default), SelfTested, self._default.deadline_s)
        if isinstance(result, SelfTested) and result.failure is None:
            self.forget_setbacks()
            return True
        self.end_child()
        return False

    def _give(
        self, work: Load | SelfTest, answer: type[Event], within_s: float = float("inf")
    ) -> Event | None:
        """The child's answer to `work`; None, and the child ended, when there was none in time."""
        child = self.child_for(work.card)
        child.give(work)
        until = time.monotonic() + within_s
        try:
            while not self._should_stop():
                event = child.next_event(TICK_S)
                if isinstance(event, answer):
                    return event
                if isinstance(event, LoadFailed) or time.monotonic() >= until:
                    break
        except ChildDied:
            """As silent as one that is late."""
        self._end_broken_child()
        return None
