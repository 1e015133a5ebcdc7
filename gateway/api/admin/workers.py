"""`/admin/v1/workers`: how they stand, and orders to give one no more jobs or jobs again."""

from datetime import datetime, timedelta
from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict

from gateway.admin.once import Signature
from gateway.admin.orders import DrainWorker, Reason, UndrainWorker, WorkerOrder
from gateway.admin.workers import DrainState, change_worker
from gateway.api.admin.signing import REPLAYED, SignatureDep
from gateway.api.deps import AdminDep, ServicesDep
from gateway.jobs.operate import list_worker_lines
from gateway.jobs.workers import WorkerState
from gateway.protocol import WorkerName
from gateway.services import Services

router = APIRouter(prefix="/admin/v1", tags=["admin"])


class WorkerObject(BaseModel):
    """A worker: what it said last, and what it did in the last seven days.

    `last_seen_at` is null if it is known by its attempts alone. `failures_in_a_row`: attempts that
    failed or were lost since the last one that succeeded.
    """

    model_config = ConfigDict(from_attributes=True)

    name: str
    state: WorkerState
    pool: str | None
    is_draining: bool
    unfit_reason: str | None
    loaded_models: list[str]
    last_seen_at: datetime | None
    running: list[str]
    last_attempt_at: datetime | None
    last_outcome: str | None
    failures_in_a_row: int


class WorkerList(BaseModel):
    """Every worker that was heard of lately, by name."""

    object: Literal["list"] = "list"
    data: list[WorkerObject]


class WhyBody(BaseModel):
    """The reason of an order, one line; it is logged."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason


@router.get("/workers")
def list_workers(_admin: AdminDep, services: ServicesDep) -> WorkerList:
    """Who works, who idles, who cannot and why, who was not heard of for a lease."""
    alive_for = timedelta(seconds=services.settings.lease_s)
    with services.database.read() as connection:
        lines = list_worker_lines(connection, now=services.clock.now(), alive_for=alive_for)
    return WorkerList(data=[WorkerObject.model_validate(line) for line in lines])


@router.post("/workers/{name}/drain")
def drain(
    name: WorkerName,
    body: WhyBody,
    signature: SignatureDep,
    services: ServicesDep,
    response: Response,
) -> DrainState:
    """Give a worker no more jobs, also when it starts anew. What it has, it finishes."""
    return _change(services, DrainWorker(worker=name, reason=body.reason), signature, response)


@router.post("/workers/{name}/undrain")
def undrain(
    name: WorkerName,
    body: WhyBody,
    signature: SignatureDep,
    services: ServicesDep,
    response: Response,
) -> DrainState:
    """Give a worker jobs again."""
    return _change(services, UndrainWorker(worker=name, reason=body.reason), signature, response)


def _change(
    services: Services, order: WorkerOrder, signature: Signature, response: Response
) -> DrainState:
    with services.database.write() as connection:
        done = change_worker(connection, order, signature, now=services.clock.now())
    response.headers.update(REPLAYED if done.is_replay else {})
    return done.result
