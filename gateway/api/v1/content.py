"""`/v1/videos/{id}/content`: the finished files, whole or in ranges."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, RedirectResponse, Response

from gateway.api.deps import CallerDep, ServicesDep
from gateway.domain.errors import ContentNotReady, NotFound
from gateway.domain.jobs import JobState
from gateway.jobs.repository import Artifact, find_artifact, find_own_job
from gateway.protocol import ArtifactRole

router = APIRouter(prefix="/v1/videos", tags=["videos"])


@router.head("/{video_id}/content", response_class=Response, include_in_schema=False)
@router.get("/{video_id}/content", response_class=Response)
def get_content(
    video_id: str,
    request: Request,
    caller: CallerDep,
    services: ServicesDep,
    variant: ArtifactRole = ArtifactRole.VIDEO,
    download: Annotated[bool, Query(description="Ask browsers to save the file.")] = False,
) -> Response:
    """The MP4, its thumbnail or its spritesheet; 404 until the job has completed."""
    with services.database.read() as connection:
        job = find_own_job(connection, caller.account_id, video_id)
        found = find_artifact(connection, video_id, variant) if job else None
    if job is None:
        raise NotFound(f"no video {video_id}", param="video_id")
    if found is None:
        is_done = job.state is JobState.SUCCEEDED
        raise ContentNotReady(
            f"video {video_id} is {job.state}" + (", its files have expired" if is_done else "")
        )
    path = services.store.local_path(found.key)
    if path is None and request.method == "HEAD":
        # A signed link is signed for one method, and it is not this one.
        return Response(headers=_facts(found), media_type=found.content_type)
    if path is None:
        url = services.store.sign_url(found.key, services.settings.file_url_ttl_s)
        return RedirectResponse(url, 307)
    if not path.is_file():
        raise ContentNotReady(f"the file of video {video_id} is gone")
    headers = {"ETag": f'"{found.sha256}"', "Cache-Control": "private, max-age=3600"}
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return FileResponse(
        path,
        media_type=found.content_type,
        headers=headers,
        filename=f"{video_id}{path.suffix}",
        content_disposition_type="attachment" if download else "inline",
    )


def _facts(file: Artifact) -> dict[str, str]:
    return {
        "ETag": f'"{file.sha256}"',
        "Content-Length": str(file.size_bytes),
        "Accept-Ranges": "bytes",
    }
