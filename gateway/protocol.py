"""The messages between gateway and workers: JSON over HTTP under `/worker/v1`, worker token only.

Every write carries the job's `attempt` as fencing token; the gateway answers a stale one with
409 `stale_attempt`, and the worker drops that job. Both sides import this file, nothing else of
each other.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from models.refusal import Refusal
from models.spec import Stage, VideoSpec

DELIVERY_FUNCTION = "workers.delivery.deliver"
"""The one function name a delivery may carry; a worker refuses every other."""

WORKER_API = "/worker/v1"

MAX_MESSAGE_CHARS = 500
MAX_PREVIEW_BYTES = 64 * 1024
PREVIEW_TTL_S = 600


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class InputRole(StrEnum):
    """What a file given with the request is for."""

    IMAGE = "image"
    LAST_IMAGE = "last_image"
    REFERENCE_1 = "reference_1"
    REFERENCE_2 = "reference_2"
    REFERENCE_3 = "reference_3"
    REFERENCE_4 = "reference_4"
    KEYFRAME_1 = "keyframe_1"
    KEYFRAME_2 = "keyframe_2"
    KEYFRAME_3 = "keyframe_3"
    KEYFRAME_4 = "keyframe_4"
    KEYFRAME_5 = "keyframe_5"
    KEYFRAME_6 = "keyframe_6"
    KEYFRAME_7 = "keyframe_7"
    KEYFRAME_8 = "keyframe_8"
    AUDIO = "audio"


REFERENCES = (
    InputRole.REFERENCE_1,
    InputRole.REFERENCE_2,
    InputRole.REFERENCE_3,
    InputRole.REFERENCE_4,
)
"""Of the reference images of a request, in their order."""

KEYFRAMES = (
    InputRole.KEYFRAME_1,
    InputRole.KEYFRAME_2,
    InputRole.KEYFRAME_3,
    InputRole.KEYFRAME_4,
    InputRole.KEYFRAME_5,
    InputRole.KEYFRAME_6,
    InputRole.KEYFRAME_7,
    InputRole.KEYFRAME_8,
)
"""Of the keyframes of a spec, in their order."""


class ArtifactRole(StrEnum):
    """A file that a finished job has; the names of `variant` in the API."""

    VIDEO = "video"
    THUMBNAIL = "thumbnail"
    SPRITESHEET = "spritesheet"


class FailureCode(StrEnum):
    """Why an attempt or a job failed; stable, shown to clients."""

    CANCELED = "canceled"
    CHECK_FAILED = "check_failed"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    INPUT_UNREADABLE = "input_unreadable"
    LABEL_MISSING = "label_missing"
    MODEL_ERROR = "model_error"
    OUT_OF_MEMORY = "out_of_memory"
    RENDERER_CRASHED = "renderer_crashed"
    WORKER_LOST = "worker_lost"


FailCode = FailureCode | Refusal
"""What a failed job may say: something went wrong here, or what the client gave is unusable."""


def parse_fail_code(code: str) -> FailCode:
    """A code as stored.

    Raises:
        ValueError: it is not one of ours.
    """
    return Refusal(code) if code in set(Refusal) else FailureCode(code)


WorkerName = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]*$")]
PoolName = Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[^\x00-\x1f\x7f]*$")]
MAX_UNFIT_CHARS = 500


class ClaimRequest(_Message):
    """A worker with free room asks for the next jobs of its pool.

    Attributes:
        worker: a name unique among live workers.
        loaded_model: the model card id now on the device; None before the first load.
        room: most jobs it takes in one batch, the `max_room` of the loaded card: what it takes of
            the size with the most room. The gateway hands out no more than `batch_room` of a size.
    """

    pool: PoolName
    worker: WorkerName
    loaded_model: str | None = None
    room: Annotated[int, Field(ge=1, le=64)] = 1


class InputFile(_Message):
    """A file to fetch before rendering. `url`: signed, relative to the gateway, short-lived."""

    role: InputRole
    url: str
    sha256: str
    size_bytes: int


class LabelFields(_Message):
    """What the generated-content label of a video says; see `workers.media.label`."""

    producer: str
    produce_id: str


class Assignment(_Message):
    """One claimed job: render `spec` as attempt `attempt` until `deadline_s` have passed.

    Attributes:
        lease_s: without a heartbeat for this long the gateway gives the job to someone else.
        heartbeat_s: how often to send one.
    """

    job_id: str
    attempt: int
    spec: VideoSpec
    inputs: list[InputFile]
    label: LabelFields
    deadline_s: float
    lease_s: float
    heartbeat_s: float


class ClaimReply(_Message):
    """The claimed jobs, all of one batch key; empty when nothing waits, or for a draining worker.

    Attributes:
        is_draining: an operator wants the worker to have no more jobs; see `HeartbeatReply`.
    """

    jobs: list[Assignment]
    is_draining: bool = False


class AttemptRef(_Message):
    """A job in one of its attempts."""

    job_id: str
    attempt: int


class HeartbeatRequest(_Message):
    """A worker lives: renews the leases of what it holds, and says how it stands.

    Sent while nothing is held too, so that the gateway knows of a worker that cannot claim.

    Attributes:
        loaded_models: ids of the models on the device, the one used last comes last.
        unfit: why it cannot render, for operators only; None if it can.
    """

    worker: WorkerName
    pool: PoolName
    held: list[AttemptRef] = Field(default_factory=list)
    loaded_models: Annotated[list[str], Field(max_length=64)] = Field(default_factory=list)
    unfit: Annotated[str, Field(max_length=MAX_UNFIT_CHARS)] | None = None


class HeartbeatReply(_Message):
    """What the gateway wants of the worker.

    Attributes:
        drop: jobs to drop at once: canceled, finished elsewhere, or given to another worker.
        heartbeat_s: when to send the next heartbeat, while nothing is held.
        is_draining: an operator wants the worker to have no more jobs. It finishes what it has,
            takes no deliveries, and goes on sending heartbeats, whose answers say when that ends.
    """

    drop: list[str]
    heartbeat_s: Annotated[float, Field(gt=0)]
    is_draining: bool = False


class Rendered(_Message):
    """Measured facts of a finished video, read from the file itself, not from the request.

    Attributes:
        duration_s: of the video track, `num_frames / fps`.
        label: the generated-content label as read back from the finished file.
        render_s: seconds from claim to the finished file.
        audio_s: length of the sound; None for a silent video.
        checks: what the renderer measured on the finished file, by name.
    """

    width: int
    height: int
    num_frames: int
    fps: float
    duration_s: float
    label: dict[str, str]
    render_s: float
    audio_s: float | None = None
    checks: dict[str, float] = Field(default_factory=dict)


class UploadedArtifact(_Message):
    """A file the worker has uploaded for this attempt."""

    role: ArtifactRole
    content_type: str
    size_bytes: int
    sha256: str


class CompleteRequest(_Message):
    """The attempt succeeded and its artifacts are uploaded. Safe to send again."""

    attempt: Annotated[int, Field(ge=1)]
    rendered: Rendered
    artifacts: list[UploadedArtifact]


class FailRequest(_Message):
    """The attempt failed.

    Attributes:
        message: safe to show to the client; no paths, no traceback.
        retryable: another attempt may succeed; else the job fails now and is refunded.
    """

    attempt: Annotated[int, Field(ge=1)]
    code: FailCode
    message: Annotated[str, Field(max_length=MAX_MESSAGE_CHARS)]
    retryable: bool


class Progress(_Message):
    """The newest position of a running attempt, kept in Redis only.

    Attributes:
        done: steps of `stage` finished, out of `total`.
        preview: names the newest preview frame, if the job has one; another frame, another name.
    """

    attempt: int
    stage: Stage
    done: int
    total: int
    preview: Annotated[str | None, Field(max_length=64)] = None

    def to_fields(self) -> dict[str, str]:
        """The entry of the stream."""
        told = self.model_dump(mode="json", exclude_none=True)
        return {name: str(value) for name, value in told.items()}

    @classmethod
    def from_fields(cls, fields: Mapping[Any, Any]) -> "Progress":
        """Read an entry back; names and values as Redis gives them, bytes or text.

        Raises:
            pydantic.ValidationError: it is not one of ours.
        """
        return cls.model_validate({_text(name): _text(value) for name, value in fields.items()})


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def progress_key(job_id: str) -> str:
    """Redis stream with a job's progress, capped and expiring."""
    return f"reelgate:progress:{job_id}"


def preview_key(job_id: str) -> str:
    """Redis key with the newest preview frame of a job: a JPEG, at most `MAX_PREVIEW_BYTES`."""
    return f"reelgate:preview:{job_id}"


def cancel_key(job_id: str) -> str:
    """Redis key that exists while a running job is to be dropped; expires by itself."""
    return f"reelgate:cancel:{job_id}"


def queue_name(pool: str) -> str:
    """The RQ queue with the deliveries of a pool."""
    return f"reelgate-{pool}"
