"""What parent and child say to each other over their pipe: plain values, pickled.

The parent sends commands, the child answers with events. One command at a time, but for `Cancel`:
`Load` is answered by `Loaded`, `SelfTest` by `SelfTested`, and after a `Render` the child says
`Finished` or `Failed` once for every order. `BatchEnded` says that it can render the next batch:
the last clip may still be written then, and its answer comes later. A model that is not on the
device is loaded first, which ends in `Loaded` or `LoadFailed`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.protocol import FailCode, FailureCode, LabelFields
from models.card import ModelCard
from models.spec import Stage, VideoSpec


@dataclass(frozen=True)
class ChildSetup:
    """What a child is spawned with: where it runs, what it may keep there, who started it."""

    device: str
    model_budget_bytes: int
    log_level: str
    parent_pid: int


@dataclass(frozen=True)
class RenderOrder:
    """One job to render into its spool folder.

    `claimed_at`, `deadline_at`: seconds of `time.monotonic`, a clock that all processes of a
    machine share.
    """

    job_id: str
    attempt: int
    spec: VideoSpec
    label: LabelFields
    folder: Path
    claimed_at: float
    deadline_at: float


@dataclass(frozen=True)
class Load:
    """Have this model on the device."""

    card: ModelCard


@dataclass(frozen=True)
class SelfTest:
    """Render the cheapest clip of this model and throw it away."""

    card: ModelCard


@dataclass(frozen=True)
class Render:
    """Render these orders, which share a model and a batch key, in one call."""

    card: ModelCard
    orders: tuple[RenderOrder, ...]


@dataclass(frozen=True)
class Cancel:
    """Nobody waits for this job of the batch any more; the others go on.

    Without any left the batch ends within one step. A clip that is being written is given up,
    unless it is nearly done. Ignored where it names no open job.
    """

    job_id: str


@dataclass(frozen=True)
class Loaded:
    """The model is on the device. `kept`: all that are, the one used last comes last."""

    model: str
    kept: tuple[str, ...]


@dataclass(frozen=True)
class LoadFailed:
    """The model cannot be loaded here; the child ends.

    `reason` is for logs and operators only: it may hold paths.
    """

    model: str
    reason: str


@dataclass(frozen=True)
class SelfTested:
    """How the self-test ended; `failure` is None for well, else for logs and operators only."""

    failure: str | None


@dataclass(frozen=True)
class Stepped:
    """These jobs have done `done` of `total` steps of `stage`.

    `previews`: new preview frames by job, small JPEGs.
    """

    job_ids: tuple[str, ...]
    stage: Stage
    done: int
    total: int
    previews: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Finished:
    """The job's files and manifest lie in its folder, whole; the child flushes them to the disk."""

    job_id: str


@dataclass(frozen=True)
class Failed:
    """The job has no result. `message` is safe to show to the client.

    `is_disk_full`: the spool had no room; the worker must not claim before that is repaired.
    """

    job_id: str
    code: FailCode
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
    """The device is free for the next batch; every order but the one being written is answered."""


Command = Load | SelfTest | Render | Cancel
Event = Loaded | LoadFailed | SelfTested | Stepped | Finished | Failed | BatchEnded
