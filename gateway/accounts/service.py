"""Create accounts and keys; tell whose key a request carries."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, insert, select, update

from gateway.accounts.keys import PREFIX, generate_key, hash_key, hint_of
from gateway.db.tables import account, api_key
from gateway.domain.errors import AuthenticationFailed
from gateway.ids import ACCOUNT_PREFIX, KEY_PREFIX, new_id


class Scope(StrEnum):
    """What a key opens: an account's own things, or everybody's."""

    CLIENT = "client"
    ADMIN = "admin"


@dataclass(frozen=True)
class Caller:
    """Who sends a request."""

    account_id: str
    key_id: str
    is_suspended: bool
    scope: Scope


def ensure_account(connection: Connection, name: str, *, plan_id: str, now: datetime) -> str:
    """The id of the account called `name`; it is created on `plan_id` if it does not exist."""
    found = connection.execute(select(account.c.id).where(account.c.name == name)).scalar()
    if found is not None:
        return str(found)
    account_id = new_id(ACCOUNT_PREFIX, now)
    connection.execute(
        insert(account).values(id=account_id, name=name, plan=plan_id, created_at=now)
    )
    return account_id


def create_key(
    connection: Connection, account_id: str, *, now: datetime, scope: Scope = Scope.CLIENT
) -> str:
    """A new key of the account. It cannot be read again: only its hash is kept."""
    key = generate_key()
    connection.execute(
        insert(api_key).values(
            id=new_id(KEY_PREFIX, now),
            account_id=account_id,
            secret_sha256=hash_key(key),
            hint=hint_of(key),
            scope=scope,
            created_at=now,
        )
    )
    return key


def revoke_key(connection: Connection, key: str, *, now: datetime) -> bool:
    """Make `key` useless from now on; False if it is unknown or was revoked before."""
    revoked = connection.execute(
        update(api_key)
        .where(api_key.c.secret_sha256 == hash_key(key), api_key.c.revoked_at.is_(None))
        .values(revoked_at=now)
    )
    return revoked.rowcount == 1


def authenticate(connection: Connection, key: str | None, *, now: datetime) -> Caller:
    """Whose key this is.

    Raises:
        AuthenticationFailed: it is missing, unknown, expired or revoked.
    """
    if not key:
        raise AuthenticationFailed("no API key; send `Authorization: Bearer rg_...`")
    if not key.startswith(PREFIX):
        raise AuthenticationFailed("this is not an API key of ours; ours start with rg_")
    row = connection.execute(
        select(api_key, account.c.suspended_at)
        .join(account, account.c.id == api_key.c.account_id)
        .where(api_key.c.secret_sha256 == hash_key(key))
    ).one_or_none()
    if row is None:
        raise AuthenticationFailed("this API key does not exist")
    if row.revoked_at is not None:
        raise AuthenticationFailed("this API key was revoked")
    if row.expires_at is not None and row.expires_at <= now:
        raise AuthenticationFailed("this API key has expired")
    return Caller(row.account_id, row.id, row.suspended_at is not None, Scope(row.scope))
