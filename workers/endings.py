"""How a job ends that the parent stopped, or whose child is gone: what the gateway is told."""

from dataclasses import dataclass
from enum import Enum

from gateway.protocol import FailureCode
from workers.messages import Failed


class StopReason(Enum):
    """Why the parent no longer wants a job rendered."""

    DROPPED = "dropped"
    CANCELED = "canceled"
    DEADLINE = "deadline"
    DRAINED = "drained"


@dataclass(frozen=True)
class Ending:
    """A failure of any job."""

    code: FailureCode
    message: str
    retryable: bool

    def of(self, job_id: str) -> Failed:
        """The failure of this job."""
        return Failed(job_id, self.code, self.message, self.retryable)


CRASHED = Ending(FailureCode.RENDERER_CRASHED, "The renderer ended unexpectedly.", retryable=True)
NOT_LOADED = Ending(FailureCode.WORKER_LOST, "The worker could not load the model.", retryable=True)
_STOPPED = {
    StopReason.CANCELED: Ending(FailureCode.CANCELED, "The job was canceled.", retryable=False),
    StopReason.DEADLINE: Ending(
        FailureCode.DEADLINE_EXCEEDED, "The job took longer than allowed.", retryable=False
    ),
    StopReason.DRAINED: Ending(
        FailureCode.WORKER_LOST, "The worker was shut down.", retryable=True
    ),
}


def explain(failed: Failed, reason: StopReason | None, *, is_child_lost: bool) -> Failed | None:
    """What to report of a job that failed after the parent no longer wanted it for `reason`.

    None where nobody waits for a report.
    """
    if reason is None:
        return failed
    if reason is StopReason.DROPPED:
        return None
    ending = _STOPPED[reason]
    # A renderer that heard nothing was stuck; elsewhere the job may well be in time.
    retryable = ending.retryable or (reason is StopReason.DEADLINE and is_child_lost)
    return Failed(failed.job_id, ending.code, ending.message, retryable)
