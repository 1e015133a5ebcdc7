"""The worker's side of `/worker/v1`: claim, heartbeat, inputs, artifacts, complete, fail.

    GatewayError
    +- GatewayUnavailable    not now: no connection, a timeout, 5xx, 429, or a token not accepted
    +- StaleAttempt          409 or 404: the job is no longer this worker's; drop it
    +- GatewayRefused        any other answer: the same request will never be accepted

A token that is not accepted (401, 403) counts as "not now": the operator repairs it, and no
finished render is thrown away meanwhile.
"""

import hashlib
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, TypeVar

import httpx2
from pydantic import BaseModel, SecretStr, ValidationError

from gateway.protocol import (
    WORKER_API,
    AttemptRef,
    ClaimReply,
    ClaimRequest,
    CompleteRequest,
    FailRequest,
    HeartbeatReply,
    HeartbeatRequest,
    InputFile,
    UploadedArtifact,
)

TIMEOUT_S = 10.0
CLAIM_TIMEOUT = httpx2.Timeout(TIMEOUT_S, read=30.0)
"""Half a lease. An answer that nobody waits for leaves its jobs to nobody, and costs an attempt."""

STORE_TIMEOUT = httpx2.Timeout(TIMEOUT_S, read=60.0)
"""The answer to an upload may take longer, while the file is stored."""

_STALE = (HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND)
_NOT_NOW = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)

ReplyT = TypeVar("ReplyT", bound=BaseModel)


class GatewayError(Exception):
    """The gateway did not do what it was asked."""


class GatewayUnavailable(GatewayError):
    """Trying the same again later may work."""


class StaleAttempt(GatewayError):
    """The attempt is over for the gateway: canceled, finished, or given to another worker."""


class GatewayRefused(GatewayError):
    """Trying the same again is of no use."""


class InputDamaged(Exception):  # says what happened
    """An input file is not what the gateway announced: its size or its SHA-256 differs."""


class GatewayClient:
    """Speaks to one gateway as one worker; safe to use from several threads."""

    def __init__(self, gateway_url: str, token: SecretStr) -> None:
        self._http = httpx2.Client(
            base_url=gateway_url,
            headers={"Authorization": f"Bearer {token.get_secret_value()}"},
            timeout=TIMEOUT_S,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def claim(self, request: ClaimRequest) -> ClaimReply:
        """Ask for the next jobs of a pool.

        Raises:
            GatewayError: one of its kinds, as for every method here.
        """
        return self._parse(self._post("/claim", request, CLAIM_TIMEOUT), ClaimReply)

    def heartbeat(self, request: HeartbeatRequest) -> HeartbeatReply:
        """Renew the leases of what the worker holds; the reply names what to drop."""
        return self._parse(self._post("/heartbeat", request), HeartbeatReply)

    def fetch_input(self, source: InputFile, target: Path, heed: Callable[[], None]) -> None:
        """Store an input file at `target`, which is only complete when this returns.

        `heed` is called after every piece that comes, for it may be slow.

        Raises:
            Exception: what `heed` raises.
            InputDamaged: it differs from what was announced.
            GatewayRefused: the link is no longer good, or leads away from the gateway.
        """
        if not source.url.startswith("/") or source.url.startswith("//"):
            raise GatewayRefused("an input link leads away from the gateway")
        try:
            with self._http.stream("GET", source.url) as answer, target.open("wb") as file:
                _raise_for_input(answer)
                digest, size = _copy(answer, file, heed, limit=source.size_bytes)
        except httpx2.RequestError as error:
            raise GatewayUnavailable(type(error).__name__) from error
        if (digest, size) != (source.sha256, source.size_bytes):
            raise InputDamaged(f"input {source.role} is not the announced file")

    def upload(self, job: AttemptRef, artifact: UploadedArtifact, path: Path) -> None:
        """Send one artifact; sending the same again is safe."""
        with path.open("rb") as file:
            self._send(
                "PUT",
                f"{WORKER_API}/jobs/{job.job_id}/artifacts/{artifact.role}",
                params={"attempt": str(job.attempt)},
                content=file,
                headers={
                    "Content-Type": artifact.content_type,
                    "X-Content-SHA256": artifact.sha256,
                },
                timeout=STORE_TIMEOUT,
            )

    def complete(self, job_id: str, request: CompleteRequest) -> None:
        """Report a finished attempt; its artifacts are uploaded. Sending it again is safe."""
        self._post(f"/jobs/{job_id}/complete", request)

    def fail(self, job_id: str, request: FailRequest) -> None:
        """Report a failed attempt. Sending it again is safe."""
        self._post(f"/jobs/{job_id}/fail", request)

    def _post(
        self, path: str, message: BaseModel, timeout: httpx2.Timeout | None = None
    ) -> httpx2.Response:
        body = message.model_dump_json().encode()
        headers = {"Content-Type": "application/json"}
        url = WORKER_API + path
        return self._send("POST", url, content=body, headers=headers, timeout=timeout)

    def _send(
        self,
        method: str,
        url: str,
        *,
        content: bytes | BinaryIO,
        headers: dict[str, str],
        params: dict[str, str] | None = None,
        timeout: httpx2.Timeout | None = None,
    ) -> httpx2.Response:
        try:
            answer = self._http.request(
                method,
                url,
                content=content,
                headers=headers,
                params=params,
                timeout=timeout or TIMEOUT_S,
            )
        except httpx2.RequestError as error:
            raise GatewayUnavailable(type(error).__name__) from error
        _raise_for(answer)
        return answer

    def _parse(self, answer: httpx2.Response, reply: type[ReplyT]) -> ReplyT:
        try:
            return reply.model_validate_json(answer.content)
        except ValidationError as error:
            # A proxy in between may answer 200 with a page of its own.
            problem = f"the reply is not a {reply.__name__}"
            raise GatewayUnavailable(problem) from error


def _raise_for(answer: httpx2.Response) -> None:
    if answer.is_success:
        return
    reason = f"status {answer.status_code}"
    if answer.status_code in _STALE:
        raise StaleAttempt(reason)
    if answer.is_server_error or answer.status_code in _NOT_NOW:
        raise GatewayUnavailable(reason)
    raise GatewayRefused(reason)


def _raise_for_input(answer: httpx2.Response) -> None:
    """As `_raise_for`, but a link that is gone or expired says nothing about the attempt."""
    if answer.is_client_error and answer.status_code != HTTPStatus.TOO_MANY_REQUESTS:
        raise GatewayRefused(f"status {answer.status_code}")
    _raise_for(answer)


def _copy(
    answer: httpx2.Response, file: BinaryIO, heed: Callable[[], None], *, limit: int
) -> tuple[str, int]:
    """Copy the body to `file`, at most one piece beyond `limit` bytes; its SHA-256 and size."""
    digest = hashlib.sha256()
    size = 0
    for piece in answer.iter_bytes():
        heed()
        digest.update(piece)
        file.write(piece)
        size += len(piece)
        if size > limit:
            break
    return digest.hexdigest(), size
