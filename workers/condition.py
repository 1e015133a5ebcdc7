"""How a worker stands: what the main thread knows of itself, and what the gateway wants of it.

The main thread writes the first, heartbeats carry it; the answers to heartbeats and claims write
the second. Each value is replaced as a whole, so threads need no lock.
"""

from pathlib import Path

import structlog

from gateway.protocol import MAX_UNFIT_CHARS
from workers.pulse import write_unfit

NOT_LOADED_YET = "it has not loaded its model yet"

log = structlog.stdlib.get_logger(__name__)


class Condition:
    """Shared by the threads of one worker.

    Attributes:
        unfit: why it cannot render; None if it can.
        loaded_models: ids of the models on the device, the one used last comes last.
        is_draining: the gateway gives it no more jobs, as far as it has said.
    """

    def __init__(self, spool_dir: Path) -> None:
        self.unfit: str | None = NOT_LOADED_YET
        self.loaded_models: tuple[str, ...] = ()
        self.is_draining = False
        self._spool_dir = spool_dir

    def become_unfit(self, reason: str) -> None:
        """Say why nothing can be rendered, to the gateway and to the health check."""
        # It may be the text of any exception.
        self.unfit = "".join(char if char.isprintable() else " " for char in reason)[
            :MAX_UNFIT_CHARS
        ]
        write_unfit(self._spool_dir, self.unfit)

    def become_fit(self, loaded_models: tuple[str, ...]) -> None:
        """Say that jobs can be rendered, and what is on the device."""
        self.unfit = None
        self.loaded_models = loaded_models
        write_unfit(self._spool_dir, None)

    def heed_drain(self, *, is_draining: bool) -> None:
        """The gateway has said whether there will be jobs."""
        if is_draining != self.is_draining:
            log.info("worker_draining" if is_draining else "worker_drain_undone")
        self.is_draining = is_draining
