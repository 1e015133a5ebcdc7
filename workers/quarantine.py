"""Whether the machine itself is suspect: failures in a row that no single job explains.

trusted --as many failures in a row as the limit--> quarantined --a self-test succeeds--> trusted
"""

import structlog

from gateway.protocol import FailureCode

MACHINE_FAULTS = frozenset({FailureCode.RENDERER_CRASHED, FailureCode.OUT_OF_MEMORY})
"""Codes of failed jobs that may be the worker's fault; a model that does not load always is."""

log = structlog.stdlib.get_logger(__name__)


class Quarantine:
    """Counts what is blamed on the machine, and says when it is enough.

    Attributes:
        reason: why the worker is to claim nothing; None while it is trusted.
    """

    def __init__(self, limit: int) -> None:
        self.reason: str | None = None
        self._limit = limit
        self._count = 0

    def blame(self, what: str) -> None:
        """Note a failure that points at the machine."""
        self._count += 1
        if self._count >= self._limit and self.reason is None:
            self.reason = f"{self._count} failures in a row, the last: {what}"
            log.error("worker_quarantined", reason=self.reason)

    def clear(self) -> None:
        """Something was rendered here, so the machine works."""
        if self.reason is not None:
            log.info("worker_trusted_again")
        self.reason = None
        self._count = 0
