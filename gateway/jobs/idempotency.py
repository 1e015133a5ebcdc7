"""The same request sent twice is one job. Keys live with the job, in the submit transaction.

A request is known again by its `Idempotency-Key` header; without one by `external_task_id`; with
neither, by account and body when the SDK says it is retrying (openai-python re-posts up to three
times and sends no key).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, select

from gateway.db.tables import idempotency, job
from gateway.domain.errors import IdempotencyMismatch, InvalidRequest, NotFound
from gateway.jobs.request import VideoRequest

KEY_TTL = timedelta(hours=24)
RETRY_WINDOW = timedelta(seconds=120)
MAX_KEY_CHARS = 255


@dataclass(frozen=True)
class RequestIdentity:
    """How a request is known again.

    Attributes:
        key: where it is kept.
        fingerprint: SHA-256 of everything it asks for.
        ttl: for how long it is kept.
        replays: whether a kept one answers this request; an SDK's first try only leaves its mark.
    """

    key: str
    fingerprint: str
    ttl: timedelta
    replays: bool


def identify(
    request: VideoRequest,
    *,
    image_sha256: str | None,
    audio_sha256: str | None = None,
    more_sha256: Mapping[str, str] | None = None,
    idempotency_key: str | None,
    num_retries: int,
) -> RequestIdentity:
    """The identity of a request with these headers; `more_sha256` is of further files, by role.

    Raises:
        InvalidRequest: the key is empty or too long.
    """
    asked: list[object] = [request.model_dump(mode="json"), image_sha256, audio_sha256]
    if more_sha256:
        # Only then, or requests from before there were such files would not be known again.
        asked.append(dict(more_sha256))
    body = json.dumps(asked, sort_keys=True)
    fingerprint = hashlib.sha256(body.encode()).hexdigest()
    if idempotency_key is not None:
        if not 1 <= len(idempotency_key) <= MAX_KEY_CHARS:
            raise InvalidRequest(
                f"Idempotency-Key needs 1 to {MAX_KEY_CHARS} characters",
                param="Idempotency-Key",
                limit=MAX_KEY_CHARS,
                value=len(idempotency_key),
            )
        return RequestIdentity(f"key:{idempotency_key}", fingerprint, KEY_TTL, replays=True)
    if request.external_task_id is not None:
        key = f"task:{request.external_task_id}"
        return RequestIdentity(key, fingerprint, KEY_TTL, replays=True)
    return RequestIdentity(
        f"body:{fingerprint}", fingerprint, RETRY_WINDOW, replays=num_retries > 0
    )


def find_replay(
    connection: Connection, account_id: str, identity: RequestIdentity, *, now: datetime
) -> str | None:
    """The job that this request made before; None if it is new. Call under the account's lock.

    Raises:
        IdempotencyMismatch: the key is in use for another request.
        NotFound: its job was deleted.
    """
    if not identity.replays:
        return None
    row = connection.execute(
        select(idempotency.c.fingerprint, idempotency.c.job_id, job.c.deleted_at)
        .join(job, job.c.id == idempotency.c.job_id)
        .where(
            idempotency.c.account_id == account_id,
            idempotency.c.key == identity.key,
            idempotency.c.expires_at > now,
        )
    ).one_or_none()
    if row is None:
        return None
    if row.fingerprint != identity.fingerprint:
        raise IdempotencyMismatch("this key was used for another request; use a fresh one")
    if row.deleted_at is not None:
        message = f"this request made {row.job_id}, which was deleted; use a fresh key"
        raise NotFound(message, param="video_id")
    return str(row.job_id)


def remember(
    connection: Connection,
    account_id: str,
    identity: RequestIdentity,
    job_id: str,
    *,
    now: datetime,
) -> None:
    """Keep the identity of the request that made `job_id`, in place of an older one."""
    connection.execute(
        delete(idempotency).where(
            idempotency.c.account_id == account_id, idempotency.c.key == identity.key
        )
    )
    connection.execute(
        insert(idempotency).values(
            account_id=account_id,
            key=identity.key,
            fingerprint=identity.fingerprint,
            job_id=job_id,
            expires_at=now + identity.ttl,
        )
    )


def forget_expired(connection: Connection, *, now: datetime) -> int:
    """Drop identities that answer nothing any more; how many."""
    return connection.execute(delete(idempotency).where(idempotency.c.expires_at <= now)).rowcount
