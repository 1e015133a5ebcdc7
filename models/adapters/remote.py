"""Another server as an engine behind our queue: it renders; points, labels and files are ours.

Any server that speaks `/v1/videos`: SGLang-Diffusion, vLLM-Omni, another Reelgate. One job here is
one job there:

    waiting --submitted--> running --completed--> its video is here
       ^  |                   |
       |  +--refused----------+--failed--> its error is kept, and raised when its clip is read
       +--engine busy
"""

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from typing import Any

from models.adapters.remote_api import EngineApi, JobError, RemoteVideo
from models.adapters.remote_errors import INPUT_FAULTS, EngineBusy, JobUnknown
from models.adapters.remote_video import read_clip
from models.card import ModelCard, SpecError
from models.cardparts import Pictures
from models.pipeline import (
    CheckFailed,
    Clip,
    EngineFailed,
    Frame,
    InputRefused,
    LoadFailed,
    OutOfMemory,
    StepCallback,
)
from models.refusal import Refusal
from models.spec import Kind, Stage, VideoSpec

MAX_POLL_S = 5.0
"""A cancel is seen at the next look, and a renderer may not stay deaf for long."""

MAX_KEYS = 5
"""How many idempotency keys a job may use up: one for every try that the engine has failed at."""

RUNNING = frozenset({"queued", "in_progress"})
TASKS = {Kind.TEXT_TO_VIDEO: {"T2V", "TI2V"}, Kind.IMAGE_TO_VIDEO: {"I2V", "TI2V"}}
"""Tasks of SGLang-Diffusion's model list that make a kind of ours."""


@dataclass
class _Job:
    """One spec on its way through the engine. `percent`: how much of it is done."""

    name: str
    spec: VideoSpec
    num_failed: int = 0
    video: RemoteVideo | None = None
    clip: Clip | None = None
    percent: int = 0

    @property
    def key(self) -> str:
        """The idempotency key of the present try."""
        return f"{self.name}.{self.num_failed}" if self.num_failed else self.name

    @property
    def has_begun(self) -> bool:
        """Whether the engine works on it, or has."""
        return self.video is not None and self.video.status != "queued"


class RemoteAdapter:
    """Renders on the server that the card's options name; see `models.pipeline.VideoPipeline`.

    Options: `base_url`; `model`, its name there, by default the card's id; `api_key_env`, the
    environment variable that holds the key; `body`, `form` or `json`; seconds `timeout_s` of a
    request, `poll_s` between looks, `patience_s` for which it may be away in the middle of a job.
    """

    memory_bytes = 0

    def __init__(self) -> None:
        self._card: ModelCard | None = None
        self._api: EngineApi | None = None

    def load(self, card: ModelCard, device: str) -> None:  # noqa: ARG002  # the interface
        """Ask the server whether it is ready and serves what `card` offers.

        Raises:
            LoadFailed: names the server and what is missing.
        """
        api = EngineApi(card)
        try:
            api.probe_health()
            _check_offers(card, api.get_model(), api.url)
        except LoadFailed as error:
            raise LoadFailed(f"model {card.id}: {error}") from error
        self._card, self._api = card, api

    def generate(
        self, specs: Sequence[VideoSpec], on_step: StepCallback, *, low_memory: bool = False
    ) -> Sequence[Clip]:
        """Render `specs` as jobs without a name of ours."""
        del low_memory
        names = [f"reelgate-{secrets.token_hex(8)}" for _ in specs]
        return self.generate_named(names, specs, on_step)

    def generate_named(
        self, names: Sequence[str], specs: Sequence[VideoSpec], on_step: StepCallback
    ) -> Sequence[Clip]:
        """Have the engine render all `specs` at the same time.

        What it refuses or fails at is raised by the clip concerned. A cancel reaches the engine,
        as far as it listens; an engine that has gone away keeps its jobs for the next attempt.

        Raises:
            LoadFailed: the engine was away for longer than `patience_s`.
        """
        if self._card is None or self._api is None:
            raise RuntimeError("load() comes before generate()")
        for spec in specs:
            self._card.check(spec)
        jobs = [_Job(name, spec) for name, spec in zip(names, specs, strict=True)]
        try:
            _render(self._api, self._card, jobs, on_step)
        except LoadFailed:
            raise
        except BaseException:
            for job in jobs:
                if job.video is not None:
                    self._api.remove(job.video.id)
            raise
        return [job.clip for job in jobs if job.clip is not None]


def _render(api: EngineApi, card: ModelCard, jobs: Sequence[_Job], on_step: StepCallback) -> None:
    """Go round the jobs until each has a clip."""
    poll_s = min(float(card.options.get("poll_s", 1.0)), MAX_POLL_S)
    patience_s = float(card.options.get("patience_s", 60.0))
    seen_at = time.monotonic()
    while True:
        try:
            for job in jobs:
                _advance(api, job, partial(_report, jobs, on_step))
            seen_at = time.monotonic()
        except LoadFailed:
            # Before the first job is there, nothing is lost by giving all of them back at once.
            if not any(job.video for job in jobs) or time.monotonic() > seen_at + patience_s:
                raise
        _report(jobs, on_step)
        if all(job.clip for job in jobs):
            return
        time.sleep(poll_s)


def _report(jobs: Sequence[_Job], on_step: StepCallback) -> None:
    if any(job.has_begun for job in jobs):
        on_step(Stage.RENDERING, sum(job.percent for job in jobs) // len(jobs), 100)
    else:
        on_step(Stage.LOADING, 0, 1)


def _advance(api: EngineApi, job: _Job, on_piece: Callable[[], None]) -> None:
    """Take `job` as far as it gets now."""
    if job.clip is not None:
        return
    try:
        job.video = _submit(api, job) if job.video is None else api.look(job.video.id)
        # An engine that begins anew would make it go back.
        job.percent = max(job.percent, min(int(job.video.progress), 100))
        if job.video.status == "completed":
            clip = read_clip(api.fetch(job.video, on_piece), job.spec)
            frames = _removed_when_read(clip.frames, api, job.video.id)
            job.clip = replace(clip, frames=frames)
        elif job.video.status not in RUNNING:
            job.clip = _failing(job.spec, _failure_of(job.video))
    except EngineBusy:
        return
    except JobUnknown:
        job.clip = _failing(job.spec, EngineFailed("the engine has forgotten the job"))
    except (CheckFailed, EngineFailed, SpecError) as error:
        job.clip = _failing(job.spec, error)


def _submit(api: EngineApi, job: _Job) -> RemoteVideo:
    """Have the engine take `job`, unless it has it already.

    A key leads to what an attempt before has asked for. Where that has failed or was removed, the
    next key begins anew.
    """
    while job.num_failed < MAX_KEYS:
        with suppress(JobUnknown):
            video = api.submit(job.spec, job.key)
            if video.status in RUNNING or video.status == "completed":
                return video
        job.num_failed += 1
    raise EngineFailed(f"the engine has failed {MAX_KEYS} times at {job.name}")


def _failure_of(video: RemoteVideo) -> Exception:
    error = video.error or JobError()
    if error.code in set(Refusal):
        return InputRefused(Refusal(error.code), error.message)
    if error.code == "out_of_memory" or "out of memory" in error.message.lower():
        return OutOfMemory(error.message)
    if error.code in INPUT_FAULTS:
        return SpecError("parameters", error.message, limit=None, value=None)
    return EngineFailed(f"{video.status}: {error.code} {error.message}")


def _failing(spec: VideoSpec, error: Exception) -> Clip:
    """A clip that raises `error` when it is read, so that others of the call go on."""
    return Clip(map(_raise, [error]), Fraction(spec.fps))


def _raise(error: Exception) -> Frame:
    raise error


def _removed_when_read(frames: Iterator[Frame], api: EngineApi, video_id: str) -> Iterator[Frame]:
    """`frames`; after the last one the engine has no more use for its copy."""
    yield from frames
    api.remove(video_id)


def _check_offers(card: ModelCard, served: Mapping[str, Any], url: str) -> None:
    """Refuse a card that offers what the engine says it does not make, where it says so."""
    for what in ("kinds", "sizes", "fps"):
        made = served.get(what)
        offered = getattr(card, what)
        if isinstance(made, list) and (missing := [each for each in offered if each not in made]):
            raise LoadFailed(f"{url} does not make {what} {missing}, which the card offers")
    if card.pictures != Pictures():
        raise LoadFailed("pictures must be left out; only a first frame is sent to an engine")
    tasks = set(served.get("supported_task_types") or filter(None, [served.get("task_type")]))
    for kind in card.kinds:
        if kind not in TASKS or (tasks and not tasks & TASKS[kind]):
            raise LoadFailed(f"{url} does not make {kind}, which the card offers")
