"""Workers drained and given jobs again: each order in one transaction with its line in the log.

Lock order: the worker's row, then the log.
"""

from datetime import datetime

from pydantic import BaseModel
from sqlalchemy import Connection

from gateway.admin.log import lock_log
from gateway.admin.once import Done, Signature, find_replay, keep
from gateway.admin.orders import DrainWorker, WorkerOrder
from gateway.domain.errors import NotFound
from gateway.jobs.workers import find_draining, set_draining


class DrainState(BaseModel):
    """Whether a worker is given no more jobs."""

    worker: str
    is_draining: bool


def change_worker(
    connection: Connection, order: WorkerOrder, signature: Signature, *, now: datetime
) -> Done[DrainState]:
    """Carry out an order about one worker.

    Raises:
        NotFound: no worker of this name was heard of lately.
        IdempotencyMismatch: the key was used for another order.
    """
    if find_draining(connection, order.worker) is None:
        raise NotFound(f"no worker {order.worker!r} was heard of", param="worker")
    lock_log(connection)
    earlier = find_replay(connection, order, signature, None, DrainState)
    if earlier is not None:
        return earlier
    is_draining = isinstance(order, DrainWorker)
    set_draining(connection, order.worker, is_draining=is_draining)
    state = DrainState(worker=order.worker, is_draining=is_draining)
    return keep(connection, order, signature, target=None, account_id=None, result=state, now=now)
