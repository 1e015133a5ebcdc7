"""The three events of live progress, as they go over the wire."""

from typing import Literal
from urllib.parse import quote

from fastapi.sse import format_sse_event
from pydantic import BaseModel

from gateway.api.v1.schemas import EtaSeconds, percent
from gateway.protocol import Progress
from gateway.streams import StreamId, format_stream_id
from models.spec import Stage

EventName = Literal["queued", "progress", "terminal"]


class QueuedEvent(BaseModel):
    """A job waits. Place and time as in the video object; told again when the place changes."""

    id: str
    position: int | None
    eta_seconds: EtaSeconds | None


class ProgressEvent(BaseModel):
    """A job runs.

    Attributes:
        stage: None until the worker has told of any.
        step: steps of `stage` finished, out of `total`.
        progress: percent of the whole job, as in the video object.
        preview: path of the newest preview frame, another one for each frame.
    """

    id: str
    attempt: int
    stage: Stage | None = None
    step: int = 0
    total: int = 0
    progress: int = 0
    preview: str | None = None


def progress_event(job_id: str, progress: Progress) -> ProgressEvent:
    """What a worker has told, for clients."""
    preview = None
    if progress.preview:
        preview = f"/v1/videos/{job_id}/preview?frame={quote(progress.preview, safe='')}"
    return ProgressEvent(
        id=job_id,
        attempt=progress.attempt,
        stage=progress.stage,
        step=progress.done,
        total=progress.total,
        progress=percent(progress),
        preview=preview,
    )


def to_wire(name: EventName, data: BaseModel, event_id: StreamId | None) -> bytes:
    """One event; without an id the client keeps the one it has."""
    return format_sse_event(
        event=name,
        data_str=data.model_dump_json(),
        id=format_stream_id(event_id) if event_id else None,
    )
