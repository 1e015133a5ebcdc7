"""Whether this worker can render: a child with a model on the device, and room in the spool.

A worker that is unfit claims nothing, so a broken machine cannot eat the queue. Every setback in a
row doubles the wait, up to a minute; a finished job forgets them.
"""

from collections.abc import Callable

import structlog

from models.catalog import ModelCard
from workers.child_process import ChildDied, ChildProcess
from workers.messages import LoadFailed
from workers.retrying import TICK_S, backoff_s, pause
from workers.settings import WorkerSettings
from workers.spool import Spool

MAX_WAIT_S = 60.0

log = structlog.stdlib.get_logger(__name__)


class Fitness:
    """Owns the child and the memory of what went wrong; main thread only.

    `should_stop` is asked several times a second while something is waited for.
    """

    def __init__(
        self,
        card: ModelCard,
        settings: WorkerSettings,
        spool: Spool,
        should_stop: Callable[[], bool],
    ) -> None:
        self._default = self._card = card
        self._settings = settings
        self._spool = spool
        self._should_stop = should_stop
        self._child: ChildProcess | None = None
        self._is_disk_full = False
        self._waits = backoff_s(MAX_WAIT_S)

    @property
    def loaded_model(self) -> str | None:
        """The id of the model on the device."""
        return self._child.card.id if self._child and self._child.is_ready else None

    def restore(self) -> None:
        """Wait until a claimed job could be rendered here, or the worker is to stop."""
        while not self._should_stop():
            if self._has_room() and self._has_model():
                return
            self.suffer_setback()

    def child_for(self, card: ModelCard) -> ChildProcess:
        """The child for `card`; one with another model ends and a new one begins to load."""
        self._card = card
        if self._child is None or self._child.card != card:
            self.end_child()
            self._child = ChildProcess(
                card, device=self._settings.device, log_level=self._settings.log_level
            )
        return self._child

    def suffer_setback(self) -> None:
        """Wait, longer each time in a row."""
        wait_s = next(self._waits)
        log.warning("worker_unfit", next_try_s=wait_s)
        pause(wait_s, self._should_stop)

    def forget_setbacks(self) -> None:
        """A job was finished, so this machine works."""
        self._waits = backoff_s(MAX_WAIT_S)

    def note_disk_full(self) -> None:
        """A file did not fit; `restore` waits until one does."""
        if not self._is_disk_full:
            log.error("disk_full", spool=self._settings.spool_dir.name)
        self._is_disk_full = True

    def end_child(self) -> None:
        """End the child, whatever it does."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def _has_room(self) -> bool:
        if self._is_disk_full:
            self._is_disk_full = not self._spool.has_room()
        return not self._is_disk_full

    def _has_model(self) -> bool:
        """Whether the child lives with its model, after waiting for it to load."""
        child = self.child_for(self._card)
        try:
            while not child.is_ready and not self._should_stop():
                if isinstance(child.next_event(TICK_S), LoadFailed):
                    raise ChildDied  # noqa: TRY301  # it says so and then ends
        except ChildDied:
            self.end_child()
            # One broken model must not keep a worker from serving the others.
            self._card = self._default
        return self._child is not None and self._child.is_ready
