"""`/v1/videos`: look, list, cancel, delete. Submitting is in `create`."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from gateway.accounts.service import Caller
from gateway.api.deps import CallerDep, ServicesDep
from gateway.api.v1.schemas import (
    VideoDeleted,
    VideoObject,
    VideoPage,
    poll_after_ms,
    video_object,
)
from gateway.domain.errors import NotFound
from gateway.domain.forecast import Eta
from gateway.domain.jobs import JobState
from gateway.jobs.files import job_folder
from gateway.jobs.lifecycle import Moved, cancel, forget
from gateway.jobs.repository import Job, find_own_job, list_jobs
from gateway.services import Services
from gateway.streams import Change

router = APIRouter(prefix="/v1/videos", tags=["videos"])


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
        etas = services.forecasts.find(connection, page)
    videos = [_to_wire(services, job, etas) for job in page]
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
    return look(services, caller, video_id, response)


@router.post("/{video_id}/cancel")
def cancel_video(
    video_id: str, caller: CallerDep, services: ServicesDep, response: Response
) -> VideoObject:
    """End a job that waits or runs and give its points back. Once ended, nothing changes."""
    cancel_job(services, caller, video_id)
    return look(services, caller, video_id, response)


def cancel_job(services: Services, caller: Caller, video_id: str) -> None:
    """Commit the end of an open job, then tell its worker and drop its files.

    Raises:
        NotFound: the caller has no such job.
    """
    with services.database.write() as connection:
        moved = cancel(
            connection,
            caller.account_id,
            video_id,
            plans=services.configuration.plans,
            now=services.clock.now(),
        )
    if moved is not None:
        _tell_canceled(services, moved)
        services.store.delete_prefix(job_folder(video_id))


@router.delete("/{video_id}")
def delete_video(video_id: str, caller: CallerDep, services: ServicesDep) -> VideoDeleted:
    """Remove a job and its files; one that is open is canceled first."""
    with services.database.write() as connection:
        moved = forget(
            connection,
            caller.account_id,
            video_id,
            plans=services.configuration.plans,
            now=services.clock.now(),
        )
    if moved is not None:
        _tell_canceled(services, moved)
    services.store.delete_prefix(job_folder(video_id))
    return VideoDeleted(id=video_id)


def look(services: Services, caller: Caller, video_id: str, response: Response) -> VideoObject:
    """The caller's job as it stands, with a hint when to ask again.

    Raises:
        NotFound: the caller has no such job.
    """
    with services.database.read() as connection:
        job = find_own_job(connection, caller.account_id, video_id)
        etas = services.forecasts.find(connection, [job] if job else [])
    if job is None:
        raise NotFound(f"no video {video_id}", param="video_id")
    video = _to_wire(services, job, etas)
    if not job.state.is_terminal:
        response.headers["openai-poll-after-ms"] = str(poll_after_ms(video))
    return video


def _to_wire(services: Services, job: Job, etas: dict[str, Eta]) -> VideoObject:
    running = job.state is JobState.RUNNING
    progress = services.queue.find_progress(job.id, job.attempt) if running else None
    eta = etas.get(job.id)
    position = eta.position if eta else None
    return video_object(job, position=position, progress=progress, eta=eta)


def _tell_canceled(services: Services, moved: Moved) -> None:
    services.metrics.jobs_finished.labels(moved.model, moved.state).inc()
    services.queue.announce(Change.TERMINAL, {moved.job_id: moved.account_id})
    if moved.attempt:
        services.queue.flag_cancel(moved.job_id)
