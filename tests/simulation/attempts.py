"""What a worker has in its hands: attempts, from the claim until they are reported."""

from dataclasses import dataclass

from gateway.protocol import (
    ArtifactRole,
    Assignment,
    AttemptRef,
    CompleteRequest,
    FailRequest,
    FailureCode,
    Rendered,
    UploadedArtifact,
)

VIDEO = b"video"
MP4 = "video/mp4"
_RETRYABLE = {FailureCode.RENDERER_CRASHED, FailureCode.WORKER_LOST, FailureCode.INPUT_UNREADABLE}


@dataclass
class Held:
    """A claimed attempt.

    Attributes:
        is_in_spool: rendered, and on a disk that outlives the worker.
        is_uploaded: its video was taken by the gateway.
        failure: why it failed, if it did.
    """

    job: Assignment
    is_unwanted: bool = False
    is_in_spool: bool = False
    is_uploaded: bool = False
    failure: FailureCode | None = None
    tries: int = 0

    @property
    def ref(self) -> AttemptRef:
        """Job and attempt."""
        return AttemptRef(job_id=self.job.job_id, attempt=self.job.attempt)

    @property
    def needs_report(self) -> bool:
        """Whether the gateway is to be told."""
        return self.is_in_spool or self.failure is not None


def complete_request(held: Held, render_s: float) -> CompleteRequest:
    """The attempt has its video."""
    spec = held.job.spec
    rendered = Rendered(
        width=spec.width,
        height=spec.height,
        num_frames=spec.num_frames,
        fps=spec.fps,
        duration_s=spec.num_frames / spec.fps,
        label={},
        render_s=render_s,
    )
    video = UploadedArtifact(
        role=ArtifactRole.VIDEO, content_type=MP4, size_bytes=len(VIDEO), sha256="0" * 64
    )
    return CompleteRequest(attempt=held.job.attempt, rendered=rendered, artifacts=[video])


def fail_request(held: Held, code: FailureCode) -> FailRequest:
    """The attempt failed; as `workers.batch` and `workers.parent` say which are tried again."""
    return FailRequest(
        attempt=held.job.attempt, code=code, message="no", retryable=code in _RETRYABLE
    )
