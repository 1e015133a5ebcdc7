"""An order happens once: it is known by its key, and its answer is kept in the log.

The same order under the same key changes nothing and gets the same answer; another order under a
used key is refused.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel
from sqlalchemy import Connection

from gateway.admin.log import Entry, append, find_entry
from gateway.admin.orders import Order
from gateway.domain.errors import IdempotencyMismatch, InvalidRequest

MAX_KEY_CHARS = 100
_ResultT = TypeVar("_ResultT", bound=BaseModel)


@dataclass(frozen=True)
class Signature:
    """Who gives an order, and the key it is known again by.

    Raises:
        InvalidRequest: the key is empty, too long or not plain text.
    """

    actor: str
    key: str

    def __post_init__(self) -> None:
        if not (1 <= len(self.key) <= MAX_KEY_CHARS and self.key.isprintable()):
            raise InvalidRequest(
                f"an idempotency key has 1 to {MAX_KEY_CHARS} printable characters",
                param="Idempotency-Key",
                limit=MAX_KEY_CHARS,
                value=len(self.key),
            )


@dataclass(frozen=True)
class Done(Generic[_ResultT]):
    """What came of an order; `is_replay` if it was carried out before and nothing happened now."""

    result: _ResultT
    is_replay: bool


def find_replay(
    connection: Connection,
    order: Order,
    signature: Signature,
    target: str | None,
    result: type[_ResultT],
) -> Done[_ResultT] | None:
    """What came of this order before; None if its key is new. Call under the log's lock.

    Raises:
        IdempotencyMismatch: the key was used for another order.
    """
    entry = find_entry(connection, signature.key)
    if entry is None:
        return None
    if (entry.action, entry.details.get("order")) != (order.action, _content(order, target)):
        raise IdempotencyMismatch("this key was used for another order; use a fresh one")
    return Done(result.model_validate(entry.details["result"]), is_replay=True)


def keep(
    connection: Connection,
    order: Order,
    signature: Signature,
    *,
    target: str | None,
    account_id: str | None,
    result: _ResultT,
    now: datetime,
) -> Done[_ResultT]:
    """Log an order with what came of it. Call `lock_log` before, in the same transaction.

    `target` is the account that the order named; `account_id` the one that it was about.
    """
    details = {"order": _content(order, target), "result": result.model_dump(mode="json")}
    entry = Entry(signature.key, signature.actor, order.action, account_id, order.reason, details)
    append(connection, entry, now=now)
    return Done(result, is_replay=False)


def _content(order: Order, target: str | None) -> dict[str, Any]:
    """What an order asks for, whole: what a second one with the same key must be equal to."""
    return {"account_id": target, **order.model_dump(mode="json")}
