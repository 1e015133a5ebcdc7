"""`/worker/v1`: claim, heartbeat, complete, fail. Every write is fenced by the attempt."""

from datetime import timedelta

from fastapi import APIRouter, Depends
from sqlalchemy import Connection

from gateway.api.deps import ServicesDep, require_worker
from gateway.domain.errors import InvalidRequest
from gateway.domain.jobs import JobState
from gateway.jobs.claim import claim, renew_leases
from gateway.jobs.files import artifact_key, attempt_folder, job_folder
from gateway.jobs.lifecycle import complete, fail
from gateway.jobs.repository import Job, find_job, find_plan_id, list_artifacts
from gateway.jobs.workers import find_draining, note_heartbeat
from gateway.protocol import (
    WORKER_API,
    ArtifactRole,
    Assignment,
    AttemptRef,
    ClaimReply,
    ClaimRequest,
    CompleteRequest,
    FailRequest,
    HeartbeatReply,
    HeartbeatRequest,
    InputFile,
    InputRole,
    LabelFields,
)
from gateway.services import Services
from gateway.streams import Change

router = APIRouter(prefix=WORKER_API, tags=["worker"], dependencies=[Depends(require_worker)])


@router.post("/claim")
def claim_jobs(request: ClaimRequest, services: ServicesDep) -> ClaimReply:
    """Hand out the next jobs of a pool; none is a fine answer, and all a draining worker gets."""
    with services.database.write() as connection:
        job_ids = claim(
            connection,
            request.pool,
            request.worker,
            limit=request.room,
            lease_s=services.settings.lease_s,
            plans=services.configuration.plans,
            now=services.clock.now(),
            loaded_model=request.loaded_model,
            swap_s=services.settings.model_swap_s,
            catalog=services.configuration.catalog,
        )
        jobs = [_find_claimed(connection, job_id) for job_id in job_ids]
        assignments = [_assignment(services, connection, job) for job in jobs]
        is_draining = not jobs and bool(find_draining(connection, request.worker))
    services.queue.announce(Change.CLAIMED, {job.id: job.account_id for job in jobs})
    return ClaimReply(jobs=assignments, is_draining=is_draining)


@router.post("/heartbeat")
def heartbeat(request: HeartbeatRequest, services: ServicesDep) -> HeartbeatReply:
    """Note how a worker stands and renew the leases of what it holds; name what it is to drop."""
    settings, now = services.settings, services.clock.now()
    with services.database.write() as connection:
        is_draining = note_heartbeat(connection, request, now=now)
        dropped = renew_leases(connection, request.held, lease_s=settings.lease_s, now=now)
    return HeartbeatReply(drop=dropped, heartbeat_s=settings.heartbeat_s, is_draining=is_draining)


@router.post("/jobs/{job_id}/complete", status_code=204)
def complete_job(job_id: str, request: CompleteRequest, services: ServicesDep) -> None:
    """Publish the uploaded files and spend the hold. Sent twice, the second changes nothing."""
    _check_uploads(services, job_id, request)
    now = services.clock.now()
    with services.database.write() as connection:
        plan_id = find_plan_id(connection, job_id)
        plan = services.configuration.plans.get(plan_id or "")
        moved = complete(
            connection,
            job_id,
            request,
            keep_for=timedelta(hours=plan.retention_hours),
            plans=services.configuration.plans,
            now=now,
        )
    if moved is not None:
        services.queue.announce(Change.TERMINAL, {job_id: moved.account_id})
        services.metrics.jobs_finished.labels(moved.model, moved.state).inc()
        services.metrics.job_run_seconds.labels(moved.model).observe(request.rendered.render_s)


@router.post("/jobs/{job_id}/fail", status_code=204)
def fail_job(job_id: str, request: FailRequest, services: ServicesDep) -> None:
    """Put the job back in line, or fail it for good with a full refund."""
    with services.database.write() as connection:
        moved = fail(
            connection,
            job_id,
            request,
            max_attempts=services.settings.max_attempts,
            plans=services.configuration.plans,
            now=services.clock.now(),
        )
    services.store.delete_prefix(attempt_folder(job_id, request.attempt))
    if moved.state is JobState.QUEUED:
        services.queue.ring(moved.pool, [AttemptRef(job_id=job_id, attempt=moved.attempt)])
        services.queue.announce(Change.REQUEUED, {job_id: moved.account_id})
    else:
        services.queue.announce(Change.TERMINAL, {job_id: moved.account_id})
        services.store.delete_prefix(job_folder(job_id))
        services.metrics.jobs_finished.labels(moved.model, moved.state).inc()


def _find_claimed(connection: Connection, job_id: str) -> Job:
    job = find_job(connection, job_id)
    if job is None:
        raise LookupError(job_id)
    return job


def _assignment(services: Services, connection: Connection, job: Job) -> Assignment:
    settings = services.settings
    if job.attempt == 1:
        waited = services.clock.now() - job.created_at
        services.metrics.job_wait_seconds.labels(job.model).observe(waited.total_seconds())
    return Assignment(
        job_id=job.id,
        attempt=job.attempt,
        spec=job.spec,
        inputs=_inputs(services, connection, job),
        label=LabelFields(producer=settings.label_producer, produce_id=job.id),
        deadline_s=_deadline_s(services, job),
        lease_s=settings.lease_s,
        heartbeat_s=settings.heartbeat_s,
    )


def _inputs(services: Services, connection: Connection, job: Job) -> list[InputFile]:
    roles = set(InputRole)
    return [
        InputFile(
            role=InputRole(file.role),
            url=services.store.sign_url(file.key, services.settings.file_url_ttl_s),
            sha256=file.sha256,
            size_bytes=file.size_bytes,
        )
        for file in list_artifacts(connection, job.id)
        if file.role in roles
    ]


def _deadline_s(services: Services, job: Job) -> float:
    card = services.configuration.catalog.find(job.model)
    if card is None:
        # The model left the catalogue while its job waited; a worker that has it may still try.
        return services.settings.lease_s
    return card.deadline_s


def _check_uploads(services: Services, job_id: str, request: CompleteRequest) -> None:
    """Make sure that a video was uploaded and every named file lies in the store whole."""
    if ArtifactRole.VIDEO not in {file.role for file in request.artifacts}:
        raise InvalidRequest(
            "no video among the artifacts", param="artifacts", limit=["video"], value=None
        )
    for file in request.artifacts:
        stored = services.store.size_bytes(artifact_key(job_id, request.attempt, file.role))
        if stored != file.size_bytes:
            raise InvalidRequest(
                f"{file.role} was not uploaded whole",
                param="artifacts",
                limit=file.size_bytes,
                value=stored,
            )
