"""The states of a job and the moves between them.

queued --claim--> running --complete--> succeeded
  |  ^              |  |
  |  +--requeue-----+  +--fail--> failed
  +--cancel-------> canceled <--cancel--+
"""

from enum import StrEnum


class JobState(StrEnum):
    """Where a job stands. The last three are final: each ends the job's hold, exactly once."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing happens to the job any more."""
        return self in TERMINAL_STATES


TERMINAL_STATES = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED})
OPEN_STATES = frozenset(JobState) - TERMINAL_STATES


class AttemptOutcome(StrEnum):
    """How one execution ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LOST = "lost"
    CANCELED = "canceled"
