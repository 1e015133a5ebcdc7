"""Bonus codes: points for whoever names the code, once per account, up to a number of uses."""

from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from gateway.db.tables import bonus_code
from gateway.domain.errors import AlreadyDone, InvalidRequest
from gateway.domain.plans import Plans
from gateway.points.ledger import lock_account
from gateway.points.service import grant_bonus


def create_code(
    connection: Connection,
    code: str,
    *,
    points: int,
    valid_days: int,
    max_uses: int,
    expires_at: datetime,
    now: datetime,
) -> None:
    """Make a code. It grants `points` that live `valid_days`, until `expires_at`.

    Raises:
        AlreadyDone: there is one of this name.
    """
    known = connection.execute(select(bonus_code.c.code).where(bonus_code.c.code == code)).first()
    if known is not None:
        raise AlreadyDone(f"there is a code {code} already")
    connection.execute(
        insert(bonus_code).values(
            code=code,
            points=points,
            valid_days=valid_days,
            max_uses=max_uses,
            uses=0,
            expires_at=expires_at,
            created_at=now,
        )
    )


def redeem(
    connection: Connection, account_id: str, code: str, *, plans: Plans, now: datetime
) -> int:
    """Grant the account the points of `code`; how many.

    Raises:
        InvalidRequest: there is no such code, or it is used up or too old.
        AlreadyDone: this account has used it.
    """
    lock_account(connection, account_id)
    row = connection.execute(select(bonus_code).where(bonus_code.c.code == code)).one_or_none()
    if row is None or row.expires_at <= now:
        raise InvalidRequest(
            "there is no such code, or it has expired", param="code", limit=None, value=code
        )
    grant_bonus(
        connection,
        account_id,
        row.points,
        key=f"code:{code}:{account_id}",
        valid_days=row.valid_days,
        reason=f"code {code}",
        plans=plans,
        now=now,
    )
    counted = connection.execute(
        update(bonus_code)
        .where(bonus_code.c.code == code, bonus_code.c.uses < bonus_code.c.max_uses)
        .values(uses=bonus_code.c.uses + 1)
    )
    if counted.rowcount == 0:
        raise InvalidRequest(
            "this code is used up", param="code", limit=row.max_uses, value=row.max_uses
        )
    return int(row.points)
