"""Accounts and waiting jobs straight into the database: many of them, and nothing to pay."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import Any

from sqlalchemy import Connection, insert

from gateway.db.tables import account, job
from gateway.domain.jobs import JobState
from gateway.domain.plans import Plans
from gateway.jobs.lanes import follow
from gateway.points.ledger import lock_account
from gateway.protocol import ArtifactRole, CompleteRequest, Rendered, UploadedArtifact
from models.spec import Kind, VideoSpec

POOL = "default"
_numbers = count(1)


@dataclass(frozen=True)
class Want:
    """A job to be made. Jobs made later have greater ids."""

    account_id: str
    model: str = "reel-tiny"
    steps: int = 12
    pool: str = POOL


def add_accounts(connection: Connection, plans: dict[str, str], *, now: datetime) -> None:
    """Accounts by id, each on a plan."""
    rows = [
        {"id": name, "name": name, "plan": plan, "created_at": now} for name, plan in plans.items()
    ]
    connection.execute(insert(account), rows)


def add_jobs(connection: Connection, wants: Iterable[Want], *, now: datetime) -> list[str]:
    """Waiting jobs without a hold, whose lanes do not know of them yet."""
    rows = [_row(want, now) for want in wants]
    connection.execute(insert(job), rows)
    return [row["id"] for row in rows]


def add_job(connection: Connection, want: Want, *, plans: Plans, now: datetime) -> str:
    """A waiting job, as a submit leaves it."""
    lock_account(connection, want.account_id)
    [job_id] = add_jobs(connection, [want], now=now)
    follow(connection, want.account_id, want.pool, plans=plans)
    return job_id


def spec_of(want: Want) -> VideoSpec:
    """What the job asks for."""
    return VideoSpec(
        kind=Kind.TEXT_TO_VIDEO,
        model=want.model,
        prompt="a red circle moving right",
        width=64,
        height=64,
        num_frames=17,
        fps=8,
        num_inference_steps=want.steps,
        guidance_scale=3.0,
        seed=7,
    )


def completion(attempt: int, render_s: float) -> CompleteRequest:
    """What a worker says of a video that took this long."""
    return CompleteRequest(
        attempt=attempt,
        rendered=Rendered(
            width=64, height=64, num_frames=17, fps=8, duration_s=2.125, label={}, render_s=render_s
        ),
        artifacts=[
            UploadedArtifact(
                role=ArtifactRole.VIDEO, content_type="video/mp4", size_bytes=1, sha256="0" * 64
            )
        ],
    )


def with_caps(plans: Plans, **caps: int) -> Plans:
    """The plans with other running caps."""
    changed = [
        plan.model_copy(update={"max_running": caps.get(plan.id, plan.max_running)})
        for plan in plans.plans
    ]
    return plans.model_copy(update={"plans": changed})


def _row(want: Want, now: datetime) -> dict[str, Any]:
    spec = spec_of(want)
    return {
        "id": f"video_{next(_numbers):024}",
        "account_id": want.account_id,
        "state": JobState.QUEUED,
        "pool": want.pool,
        "kind": spec.kind,
        "model": spec.model,
        "spec": spec.model_dump(mode="json"),
        "client_metadata": {},
        "attempt": 0,
        "created_at": now,
    }
