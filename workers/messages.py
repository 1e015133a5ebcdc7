"""What parent and child say to each other over their pipe: plain values, pickled.

The parent sends commands, the child answers with events. One batch at a time: after a `Render`
the child says `Finished` or `Failed` once for every order, then `BatchEnded`.
"""

from dataclasses import dataclass
from pathlib import Path

from gateway.protocol import FailureCode, LabelFields
from models.catalog import ModelCard
from models.spec import Stage, VideoSpec


@dataclass(frozen=True)
class ChildSetup:
    """What a child is spawned with: its one model, where it runs, and who started it."""

    card: ModelCard
    device: str
    log_level: str
    parent_pid: int


@dataclass(frozen=True)
class RenderOrder:
    """One job to render into its spool folder.

    `claimed_at`: seconds of `time.monotonic`, a clock that all processes of a machine share.
    """

    job_id: str
    attempt: int
    spec: VideoSpec
    label: LabelFields
    folder: Path
    claimed_at: float


@dataclass(frozen=True)
class Render:
    """Render these orders, which share a model and a batch key, in one call."""

    orders: tuple[RenderOrder, ...]


@dataclass(frozen=True)
class Cancel:
    """Stop the batch within one step; ignored between batches."""


@dataclass(frozen=True)
class Loaded:
    """The model is on the device."""


@dataclass(frozen=True)
class LoadFailed:
    """The model cannot be loaded here; the child ends. `reason` is for the log only."""

    reason: str


@dataclass(frozen=True)
class Stepped:
    """The batch has done `done` of `total` steps of `stage`."""

    stage: Stage
    done: int
    total: int


@dataclass(frozen=True)
class Finished:
    """The job's files and manifest lie in its folder, flushed to disk."""

    job_id: str


@dataclass(frozen=True)
class Failed:
    """The job has no result. `message` is safe to show to the client.

    `is_disk_full`: the spool had no room; the worker must not claim before that is repaired.
    """

    job_id: str
    code: FailureCode
    message: str
    retryable: bool
    is_disk_full: bool = False

    @classmethod
    def for_disk_full(cls, job_id: str) -> "Failed":
        """The worker is to blame, not the job."""
        message = "The worker had no room for the files."
        return cls(job_id, FailureCode.WORKER_LOST, message, retryable=True, is_disk_full=True)


@dataclass(frozen=True)
class BatchEnded:
    """Every order of the batch is answered; the next one may come."""


Command = Render | Cancel
Event = Loaded | LoadFailed | Stepped | Finished | Failed | BatchEnded
