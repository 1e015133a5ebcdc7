"""A client, and a worker without a model: it claims, uploads a few bytes and reports."""

import hashlib
import io
from dataclasses import dataclass, field
from typing import Any

import httpx2
from PIL import Image

from gateway.protocol import (
    ArtifactRole,
    Assignment,
    AttemptRef,
    ClaimReply,
    CompleteRequest,
    FailRequest,
    FailureCode,
    HeartbeatReply,
    HeartbeatRequest,
    Rendered,
    UploadedArtifact,
)

PROMPT = "a red circle moving right on a black background"
VIDEO_BYTES = bytes(range(256)) * 40


@dataclass
class Client:
    """One account's view of the API."""

    http: httpx2.Client
    key: str
    headers: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.headers = {"Authorization": f"Bearer {self.key}"}

    def submit(self, *, headers: dict[str, str] | None = None, **fields: Any) -> Any:
        """Post a video as JSON; the raw response."""
        body = {"prompt": PROMPT, **fields}
        return self.http.post("/v1/videos", json=body, headers={**self.headers, **(headers or {})})

    def get(self, path: str, **kwargs: Any) -> Any:
        """Get a path below `/v1`."""
        headers = {**self.headers, **kwargs.pop("headers", {})}
        return self.http.get(f"/v1{path}", headers=headers, **kwargs)

    def video(self, video_id: str) -> dict[str, Any]:
        """The video object now."""
        answer: dict[str, Any] = self.get(f"/videos/{video_id}").json()
        return answer

    def post(self, path: str, **kwargs: Any) -> Any:
        """Post to a path below `/v1`."""
        return self.http.post(f"/v1{path}", headers=self.headers, **kwargs)

    def delete(self, path: str) -> Any:
        """Delete a path below `/v1`."""
        return self.http.delete(f"/v1{path}", headers=self.headers)


@dataclass
class PaperWorker:
    """Speaks the worker protocol, renders nothing."""

    http: httpx2.Client
    token: str
    name: str = "paper"

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def _post(self, path: str, body: str) -> Any:
        headers = {**self._headers, "Content-Type": "application/json"}
        return self.http.post(f"/worker/v1{path}", content=body, headers=headers)

    def claim(self, room: int = 1) -> list[Assignment]:
        """The next jobs."""
        return self.ask(room).jobs

    def ask(self, room: int = 1) -> ClaimReply:
        """All that is answered to a claim."""
        answer = self.http.post(
            "/worker/v1/claim",
            json={"pool": "default", "worker": self.name, "room": room},
            headers=self._headers,
        )
        assert answer.status_code == 200, answer.text
        return ClaimReply.model_validate(answer.json())

    def heartbeat(self, *assignments: Assignment) -> list[str]:
        """Renew; the jobs to drop."""
        return self.beat(*assignments).drop

    def beat(
        self, *assignments: Assignment, models: tuple[str, ...] = (), unfit: str | None = None
    ) -> HeartbeatReply:
        """Renew, and say how it stands."""
        request = HeartbeatRequest(
            worker=self.name,
            pool="default",
            held=[AttemptRef(job_id=each.job_id, attempt=each.attempt) for each in assignments],
            loaded_models=list(models),
            unfit=unfit,
        )
        answer = self._post("/heartbeat", request.model_dump_json())
        assert answer.status_code == 200, answer.text
        return HeartbeatReply.model_validate(answer.json())

    def upload(self, job: Assignment, role: ArtifactRole, content: bytes) -> Any:
        """Put one file."""
        return self.http.put(
            f"/worker/v1/jobs/{job.job_id}/artifacts/{role}",
            params={"attempt": job.attempt},
            content=content,
            headers={
                **self._headers,
                "Content-Type": "video/mp4" if role is ArtifactRole.VIDEO else "image/jpeg",
                "X-Content-SHA256": hashlib.sha256(content).hexdigest(),
            },
        )

    def complete(self, job: Assignment, content: bytes = VIDEO_BYTES) -> Any:
        """Say that the uploaded video is the result."""
        spec = job.spec
        request = CompleteRequest(
            attempt=job.attempt,
            rendered=Rendered(
                width=spec.width,
                height=spec.height,
                num_frames=spec.num_frames,
                fps=spec.fps,
                duration_s=spec.num_frames / spec.fps,
                label={"Label": "1"},
                render_s=0.5,
            ),
            artifacts=[
                UploadedArtifact(
                    role=ArtifactRole.VIDEO,
                    content_type="video/mp4",
                    size_bytes=len(content),
                    sha256=hashlib.sha256(content).hexdigest(),
                )
            ],
        )
        return self._post(f"/jobs/{job.job_id}/complete", request.model_dump_json())

    def finish(self, job: Assignment) -> None:
        """Upload and complete."""
        assert self.upload(job, ArtifactRole.VIDEO, VIDEO_BYTES).status_code == 204
        assert self.complete(job).status_code == 204

    def fail(self, job: Assignment, *, retryable: bool) -> Any:
        """Say that the attempt failed."""
        request = FailRequest(
            attempt=job.attempt,
            code=FailureCode.MODEL_ERROR,
            message="it did not work",
            retryable=retryable,
        )
        return self._post(f"/jobs/{job.job_id}/fail", request.model_dump_json())


def png_bytes(width: int = 64, height: int = 64, colour: str = "navy") -> bytes:
    """A plain picture as a file."""
    file = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(file, "PNG")
    return file.getvalue()
