"""`PUT /worker/v1/jobs/{id}/artifacts/{role}`: files of an attempt, streamed to the store."""

import hashlib
import tempfile
from typing import IO, Annotated

from fastapi import APIRouter, Depends, Header, Request
from fastapi.concurrency import run_in_threadpool

from gateway.api.deps import ServicesDep, require_worker
from gateway.domain.errors import InvalidRequest, StaleAttempt, Unavailable
from gateway.jobs.files import artifact_key, store_file
from gateway.jobs.repository import find_job
from gateway.protocol import WORKER_API, ArtifactRole
from gateway.services import Services
from gateway.settings import Limits

_IN_MEMORY_BYTES = 4 * 1024 * 1024


def uploads_router(limits: Limits) -> APIRouter:
    """The upload route, for bodies up to `limits.max_artifact_bytes`."""
    router = APIRouter(prefix=WORKER_API, tags=["worker"], dependencies=[Depends(require_worker)])
    router.add_api_route(
        "/jobs/{job_id}/artifacts/{role}",
        put_artifact,
        methods=["PUT"],
        status_code=204,
        max_body_size=limits.max_artifact_bytes,
    )
    return router


async def put_artifact(
    job_id: str,
    role: ArtifactRole,
    attempt: int,
    request: Request,
    services: ServicesDep,
    x_content_sha256: Annotated[str, Header()],
    content_type: Annotated[str, Header()] = "application/octet-stream",
) -> None:
    """Store one file of an attempt; sent again, it replaces the first. Published by `complete`."""
    await run_in_threadpool(check_attempt, services, job_id, attempt)
    digest = hashlib.sha256()
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as file:
        async for chunk in request.stream():
            digest.update(chunk)
            await run_in_threadpool(_write, file, chunk)
        if digest.hexdigest() != x_content_sha256:
            raise InvalidRequest(
                "the body does not match its checksum",
                param="X-Content-SHA256",
                limit=x_content_sha256,
                value=digest.hexdigest(),
            )
        file.seek(0)
        key = artifact_key(job_id, attempt, role)
        await run_in_threadpool(store_file, services.store, key, file, content_type)


def check_attempt(services: Services, job_id: str, attempt: int) -> None:
    """Make sure that the attempt may still end with a video.

    Raises:
        StaleAttempt: it may not.
    """
    with services.database.read() as connection:
        job = find_job(connection, job_id)
    if job is None or job.state.is_terminal or job.attempt != attempt:
        raise StaleAttempt("the job has ended or is with another worker")


def _write(file: IO[bytes], chunk: bytes) -> None:
    try:
        file.write(chunk)
    except OSError as error:
        raise Unavailable(f"no room for the upload: {error.strerror}") from error
