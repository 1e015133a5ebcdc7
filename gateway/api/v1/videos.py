"""`/v1/videos`: submit, look, list, cancel, delete."""

import io
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response

from gateway.accounts.service import Caller
from gateway.api.deps import CallerDep, ServicesDep
from gateway.api.v1.body import IMAGE_FIELD, VideoBodyDep
from gateway.api.v1.schemas import (
    VideoDeleted,
    VideoMetadata,
    VideoObject,
    VideoPage,
    poll_after_ms,
    video_object,
)
from gateway.domain.errors import InvalidRequest, NotFound
from gateway.domain.jobs import JobState
from gateway.ids import new_id
from gateway.jobs.admission import VideoRequest, build_spec, parse_request
from gateway.jobs.files import input_key, job_folder
from gateway.jobs.idempotency import identify
from gateway.jobs.images import CONTENT_TYPE, normalise_image
from gateway.jobs.lifecycle import Moved, cancel, forget
from gateway.jobs.repository import Job, find_own_job, list_jobs, queue_positions
from gateway.jobs.submit import Order, Placed, submit
from gateway.protocol import AttemptRef, InputRole
from gateway.services import Services

router = APIRouter(prefix="/v1/videos", tags=["videos"])

_BODY_SCHEMA = {
    **VideoRequest.model_json_schema(),
    "title": "VideoRequest",
}
_FORM_SCHEMA = {
    **_BODY_SCHEMA,
    "properties": {
        **_BODY_SCHEMA["properties"],
        IMAGE_FIELD: {"type": "string", "format": "binary", "description": "The first frame."},
    },
}


@router.post(
    "",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": _BODY_SCHEMA},
                "multipart/form-data": {"schema": _FORM_SCHEMA},
            },
        }
    },
)
def create_video(
    body: VideoBodyDep,
    caller: CallerDep,
    services: ServicesDep,
    response: Response,
    idempotency_key: Annotated[str | None, Header()] = None,
    x_stainless_retry_count: Annotated[int, Header()] = 0,
) -> VideoObject:
    """Submit a job. A picture in `input_reference` makes it image-to-video."""
    request = parse_request(body.fields)
    _refuse_reserved_metadata(request)
    catalog = services.configuration.catalog
    spec = build_spec(request, catalog, has_image=body.image is not None)
    image = None
    if body.image is not None:
        image = normalise_image(body.image, services.settings.limits, param=IMAGE_FIELD)
    order = Order(
        job_id=new_id("video", services.clock.now()),
        pool=next(card.pool for card in catalog.models if card.id == spec.model),
        spec=spec,
        image=image,
        client_metadata=request.metadata,
        identity=identify(
            request,
            image_sha256=image.sha256 if image else None,
            idempotency_key=idempotency_key,
            num_retries=x_stainless_retry_count,
        ),
    )
    placed = _place(services, caller, order)
    if placed.is_replay:
        response.headers["Idempotent-Replayed"] = "true"
    else:
        services.queue.ring(order.pool, [AttemptRef(job_id=placed.job_id, attempt=0)])
    return _look(services, caller, placed.job_id, response)


@router.get("")
def list_videos(
    caller: CallerDep,
    services: ServicesDep,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Annotated[str, Query(pattern="^(asc|desc)$")] = "desc",
) -> VideoPage:
    """The caller's jobs, the newest first unless `order=asc`."""
    with services.database.read() as connection:
        jobs = list_jobs(
            connection,
            caller.account_id,
            after=after,
            limit=limit + 1,
            newest_first=order == "desc",
        )
        page = jobs[:limit]
        positions = queue_positions(connection, [job.id for job in page])
    videos = [_to_wire(services, job, positions) for job in page]
    return VideoPage(
        data=videos,
        first_id=videos[0].id if videos else None,
        last_id=videos[-1].id if videos else None,
        has_more=len(jobs) > limit,
    )


@router.get("/{video_id}")
def get_video(
    video_id: str, caller: CallerDep, services: ServicesDep, response: Response
) -> VideoObject:
    """One job, as it stands."""
    return _look(services, caller, video_id, response)


@router.post("/{video_id}/cancel")
def cancel_video(
    video_id: str, caller: CallerDep, services: ServicesDep, response: Response
) -> VideoObject:
    """End a job that waits or runs and give its points back. Once ended, nothing changes."""
    with services.database.write() as connection:
        moved = cancel(connection, caller.account_id, video_id, now=services.clock.now())
    if moved is not None:
        _tell_canceled(services, moved)
        services.store.delete_prefix(job_folder(video_id))
    return _look(services, caller, video_id, response)


@router.delete("/{video_id}")
def delete_video(video_id: str, caller: CallerDep, services: ServicesDep) -> VideoDeleted:
    """Remove a job and its files; one that is open is canceled first."""
    with services.database.write() as connection:
        moved = forget(connection, caller.account_id, video_id, now=services.clock.now())
    if moved is not None:
        _tell_canceled(services, moved)
    services.store.delete_prefix(job_folder(video_id))
    return VideoDeleted(id=video_id)


def _place(services: Services, caller: Caller, order: Order) -> Placed:
    """Store the picture, then decide everything in one transaction; no job, no file."""
    if order.image is not None:
        key = input_key(order.job_id, InputRole.IMAGE)
        services.store.put(key, io.BytesIO(order.image.png), CONTENT_TYPE)
    placed = None
    try:
        with services.database.write() as connection:
            placed = submit(
                connection,
                caller,
                order,
                plans=services.configuration.plans,
                prices=services.configuration.prices,
                now=services.clock.now(),
            )
    finally:
        if order.image is not None and (placed is None or placed.is_replay):
            services.store.delete_prefix(job_folder(order.job_id))
    return placed


def _look(services: Services, caller: Caller, video_id: str, response: Response) -> VideoObject:
    with services.database.read() as connection:
        job = find_own_job(connection, caller.account_id, video_id)
        positions = queue_positions(connection, [video_id]) if job else {}
    if job is None:
        raise NotFound(f"no video {video_id}", param="video_id")
    video = _to_wire(services, job, positions)
    if not job.state.is_terminal:
        response.headers["openai-poll-after-ms"] = str(poll_after_ms(video))
    return video


def _to_wire(services: Services, job: Job, positions: dict[str, int]) -> VideoObject:
    running = job.state is JobState.RUNNING
    progress = services.queue.find_progress(job.id, job.attempt) if running else None
    return video_object(job, position=positions.get(job.id), progress=progress)


def _tell_canceled(services: Services, moved: Moved) -> None:
    services.metrics.jobs_finished.labels(moved.model, moved.state).inc()
    if moved.attempt:
        services.queue.flag_cancel(moved.job_id)


def _refuse_reserved_metadata(request: VideoRequest) -> None:
    reserved = sorted(VideoMetadata.model_fields)
    for name in request.metadata:
        if name in reserved:
            raise InvalidRequest(
                f"metadata.{name} is a name of ours", param="metadata", limit=reserved, value=name
            )
