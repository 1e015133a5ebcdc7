"""API keys made and revoked by operators, logged without the key itself."""

from datetime import datetime

from sqlalchemy import Connection, select

from gateway.accounts.keys import hash_key, hint_of
from gateway.accounts.service import create_key, revoke_key
from gateway.admin.log import Entry, append, lock_log
from gateway.admin.once import Signature
from gateway.admin.orders import IssueKey, Order, WithdrawKey
from gateway.db.tables import api_key
from gateway.points.ledger import lock_account


def issue_key(
    connection: Connection,
    account_id: str,
    order: IssueKey,
    signature: Signature,
    *,
    now: datetime,
) -> str:
    """A new key of the account, shown this once. So no order is repeated under its log key."""
    lock_account(connection, account_id)
    lock_log(connection)
    secret = create_key(connection, account_id, now=now, scope=order.scope)
    details = {"scope": order.scope.value, "hint": hint_of(secret)}
    _log(connection, order, signature, account_id=account_id, details=details, now=now)
    return secret


def withdraw_key(
    connection: Connection, secret: str, order: WithdrawKey, signature: Signature, *, now: datetime
) -> bool:
    """Make a key useless from now on; False if it is unknown or was revoked before."""
    owner = connection.execute(
        select(api_key.c.account_id).where(api_key.c.secret_sha256 == hash_key(secret))
    ).scalar()
    if owner is None:
        return False
    lock_account(connection, owner)
    lock_log(connection)
    if not revoke_key(connection, secret, now=now):
        return False
    details = {"hint": hint_of(secret)}
    _log(connection, order, signature, account_id=owner, details=details, now=now)
    return True


def _log(
    connection: Connection,
    order: Order,
    signature: Signature,
    *,
    account_id: str,
    details: dict[str, str],
    now: datetime,
) -> None:
    entry = Entry(
        key=signature.key,
        actor=signature.actor,
        action=order.action,
        account_id=account_id,
        reason=order.reason,
        details=dict(details),
    )
    append(connection, entry, now=now)
