"""What goes over the wire under `/v1`: our jobs in the shape of OpenAI's video objects."""

import math
from fractions import Fraction
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from gateway.domain.forecast import Eta
from gateway.domain.jobs import JobState
from gateway.domain.pricing import PriceList, billed_seconds, offered_specs
from gateway.jobs.repository import Job
from gateway.protocol import Progress
from models.card import ModelCard
from models.cardparts import Pictures, Voice
from models.spec import EmotionName, Kind, Stage

WireStatus = Literal["queued", "in_progress", "completed", "failed"]

STATUS: dict[JobState, WireStatus] = {
    JobState.QUEUED: "queued",
    JobState.RUNNING: "in_progress",
    JobState.SUCCEEDED: "completed",
    # Typed clients know four statuses; `metadata.state` tells a cancellation from a failure.
    JobState.FAILED: "failed",
    JobState.CANCELED: "failed",
}
# Where each stage begins and ends on the way from 0 to 100. A model denoises or renders, which is
# nearly all of the work.
_SPANS = {
    Stage.LOADING: (1, 3),
    Stage.SPEAKING: (3, 8),
    Stage.DENOISING: (8, 80),
    Stage.RENDERING: (8, 80),
    Stage.DECODING: (80, 85),
    Stage.ENHANCING: (85, 90),
    Stage.ENCODING: (90, 97),
    Stage.UPLOADING: (97, 99),
}
_FASTEST_POLL_MS = 500
_SLOWEST_POLL_MS = 10_000


class Usage(BaseModel):
    """Points of one job: held while it is open, charged (or 0, given back) once it has ended."""

    points_held: int
    points_charged: int | None
    price_version: str


class VideoError(BaseModel):
    """Why a job failed. `refunded`: whether its points came back."""

    code: str
    message: str
    refunded: bool


class EtaSeconds(BaseModel):
    """Seconds until the video is there: as likely later as earlier (p50), later one time in ten."""

    p50: int
    p90: int


class VideoMetadata(BaseModel):
    """The exact state and parameters; the client's own metadata stands beside them.

    `num_frames`, `fps` and `duration_s` are read from the finished file once there is one; before
    that they are the most a digital human that speaks a text may have. `audio_s` is the length of
    its sound, `checks` what its renderer measured on it, by name.
    """

    model_config = ConfigDict(extra="allow")

    state: JobState
    attempt: int
    width: int
    height: int
    num_frames: int
    fps: float
    duration_s: float
    mode: str
    num_inference_steps: int
    guidance_scale: float
    generate_audio: bool
    seed: int
    render_s: float | None = None
    audio_s: float | None = None
    checks: dict[str, float] | None = None


class VideoObject(BaseModel):
    """A job, as OpenAI's SDKs know it, and a little more.

    `queue_position` is the place in the fair queue, which others may still be put before;
    `eta_seconds` is null while no worker lives. Both come from a forecast a few seconds old.
    """

    id: str
    object: Literal["video"] = "video"
    model: str
    kind: Kind
    status: WireStatus
    progress: int
    stage: Stage | None
    queue_position: int | None
    eta_seconds: EtaSeconds | None
    created_at: int
    completed_at: int | None
    expires_at: int | None
    seconds: str
    size: str
    prompt: str
    remixed_from_video_id: str | None = None
    error: VideoError | None
    usage: Usage
    metadata: VideoMetadata


class VideoPage(BaseModel):
    """A page of the caller's jobs; `last_id` is the next `after`."""

    object: Literal["list"] = "list"
    data: list[VideoObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


class VideoDeleted(BaseModel):
    """The job is gone."""

    id: str
    object: Literal["video.deleted"] = "video.deleted"
    deleted: bool = True


class Enhanced(BaseModel):
    """Of a model's `sizes` and `fps` those that upscaling and interpolation add to its own."""

    sizes: list[str]
    fps: list[int]


class ModelObject(BaseModel):
    """A served model and what it can do; the first of `sizes` and of `fps` is the default."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: Literal["reelgate"] = "reelgate"
    title: str
    licence: str
    kinds: list[Kind]
    sizes: list[str]
    seconds: list[int]
    fps: list[int]
    enhanced: Enhanced
    num_frames: str
    num_inference_steps: dict[str, int]
    guidance_scale: dict[str, float]
    max_prompt_chars: int
    pictures: Pictures
    modes: dict[str, int]
    voices: list[Voice]
    languages: list[str]
    emotions: list[EmotionName]
    audio: Literal["none", "out", "in"]
    points_from: int


class ModelPage(BaseModel):
    """Every served model."""

    object: Literal["list"] = "list"
    data: list[ModelObject]


def video_object(
    job: Job, *, position: int | None, progress: Progress | None, eta: Eta | None = None
) -> VideoObject:
    """The wire form of `job`. `position`: its place in the queue; `progress`: of its attempt."""
    spec = job.spec
    running = job.state is JobState.RUNNING
    return VideoObject(
        id=job.id,
        model=job.model,
        kind=job.kind,
        status=STATUS[job.state],
        progress=_percent(job.state, progress),
        stage=progress.stage if running and progress else None,
        queue_position=position,
        eta_seconds=eta_seconds(eta),
        created_at=int(job.created_at.timestamp()),
        completed_at=int(job.finished_at.timestamp()) if job.finished_at else None,
        expires_at=int(job.expires_at.timestamp()) if job.expires_at else None,
        seconds=f"{float(_seconds(job)):g}",
        size=spec.size,
        prompt=spec.prompt,
        error=_error(job),
        usage=Usage(
            points_held=job.points_held if job.points_charged is None else 0,
            points_charged=job.points_charged,
            price_version=job.price_version,
        ),
        metadata=_metadata(job),
    )


def model_object(card: ModelCard, prices: PriceList) -> ModelObject:
    """The wire form of a model card; `points_from` is its cheapest video."""
    return ModelObject(
        id=card.id,
        title=card.title,
        licence=card.licence,
        kinds=card.kinds,
        sizes=[*card.size_sources],
        seconds=card.seconds,
        fps=[*card.rate_sources],
        enhanced=Enhanced(
            sizes=[size for size in card.size_sources if size not in card.sizes],
            fps=[rate for rate in card.rate_sources if rate not in card.fps],
        ),
        num_frames=str(card.num_frames),
        num_inference_steps=card.num_inference_steps.model_dump(),
        guidance_scale=card.guidance_scale.model_dump(),
        max_prompt_chars=card.max_prompt_chars,
        pictures=card.pictures,
        modes={name: mode.num_inference_steps for name, mode in card.modes.items()},
        audio=card.audio,
        voices=card.voices,
        languages=[*card.languages],
        emotions=list(EmotionName) if Kind.DIGITAL_HUMAN in card.kinds else [],
        points_from=min(prices.quote(spec).points for spec in offered_specs(card)),
    )


def percent(progress: Progress) -> int:
    """How far a running job is, 1 to 99; it never goes back within an attempt."""
    start, end = _SPANS[progress.stage]
    return start + (end - start) * progress.done // max(progress.total, 1)


def poll_after_ms(video: VideoObject) -> int:
    """How long a polite client waits before it asks again; longer the further back in line."""
    places = video.queue_position or 0
    return min(_FASTEST_POLL_MS * (1 + places), _SLOWEST_POLL_MS)


def eta_seconds(eta: Eta | None) -> EtaSeconds | None:
    """The wire form of a forecast, in whole seconds; None where nothing can be said."""
    if eta is None or eta.p50_s is None or eta.p90_s is None:
        return None
    return EtaSeconds(p50=math.ceil(eta.p50_s), p90=math.ceil(eta.p90_s))


def _seconds(job: Job) -> Fraction:
    """What is billed: of a digital human, how long it came out."""
    if job.rendered is None or job.kind is not Kind.DIGITAL_HUMAN:
        return billed_seconds(job.spec)
    return Fraction(job.rendered.num_frames, job.spec.fps)


def _percent(state: JobState, progress: Progress | None) -> int:
    if state is JobState.SUCCEEDED:
        return 100
    if state is not JobState.RUNNING or progress is None:
        return 0
    return percent(progress)


def _error(job: Job) -> VideoError | None:
    if job.error_code is None or not job.state.is_terminal:
        return None
    return VideoError(
        code=job.error_code, message=job.error_message or "", refunded=job.points_charged == 0
    )


def _metadata(job: Job) -> VideoMetadata:
    spec, made = job.spec, job.rendered
    measured: dict[str, Any] = {
        "state": job.state,
        "attempt": job.attempt,
        "width": made.width if made else spec.width,
        "height": made.height if made else spec.height,
        "num_frames": made.num_frames if made else spec.num_frames,
        "fps": made.fps if made else spec.fps,
        "duration_s": made.duration_s if made else spec.num_frames / spec.fps,
        "mode": spec.mode,
        "num_inference_steps": spec.num_inference_steps,
        "guidance_scale": spec.guidance_scale,
        "generate_audio": spec.generate_audio,
        "seed": spec.seed,
        "render_s": made.render_s if made else None,
        "audio_s": made.audio_s if made else None,
        "checks": made.checks if made and made.checks else None,
    }
    return VideoMetadata(**{**job.client_metadata, **measured})
