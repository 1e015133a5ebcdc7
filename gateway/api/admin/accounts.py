"""`/admin/v1/accounts` and `/admin/v1/bonus-codes`: orders of operators, each logged.

Every write takes a `reason`, and an `Idempotency-Key` under which it happens once, ever.
"""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from gateway.admin.accounts import AccountBalance, AccountState, iterate_balances
from gateway.admin.once import Signature
from gateway.admin.orders import (
    AccountOrder,
    CorrectPoints,
    CreateAccount,
    CreateCode,
    GrantPoints,
    Resume,
    SetPlan,
    Suspend,
    TopUpPoints,
)
from gateway.admin.service import (
    CodeState,
    change_account,
    create_account,
    create_bonus_code,
    show_account,
)
from gateway.api.admin.signing import REPLAYED, SignatureDep
from gateway.api.deps import AdminDep, ServicesDep
from gateway.services import Services

router = APIRouter(prefix="/admin/v1", tags=["admin"])


class AccountPage(BaseModel):
    """A page of accounts in the order of their ids; `last_id` is the next `after`."""

    object: Literal["list"] = "list"
    data: list[AccountBalance]
    last_id: str | None
    has_more: bool


@router.get("/accounts")
def list_accounts(
    _admin: AdminDep,
    services: ServicesDep,
    after: str | None = None,
    name: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> AccountPage:
    """Accounts with their points as last touched, less what has expired since."""
    with services.database.read() as connection:
        found = list(
            iterate_balances(
                connection, now=services.clock.now(), after=after, name=name, limit=limit + 1
            )
        )
    page = found[:limit]
    return AccountPage(
        data=page, last_id=page[-1].id if page else None, has_more=len(found) > limit
    )


@router.post("/accounts", status_code=201)
def post_account(
    order: CreateAccount, signature: SignatureDep, services: ServicesDep, response: Response
) -> AccountState:
    """Make an account, on the default plan or on a bought one."""
    with services.database.write() as connection:
        done = create_account(
            connection,
            order,
            signature,
            plans=services.configuration.plans,
            now=services.clock.now(),
        )
    response.headers.update(REPLAYED if done.is_replay else {})
    return done.result


@router.get("/accounts/{account_id}")
def get_account(account_id: str, _admin: AdminDep, services: ServicesDep) -> AccountState:
    """One account, brought up to now as if its owner had come."""
    with services.database.write() as connection:
        return show_account(
            connection,
            account_id,
            plans=services.configuration.plans,
            now=services.clock.now(),
        )


@router.post("/accounts/{account_id}/suspend")
def suspend(
    account_id: str,
    order: Suspend,
    signature: SignatureDep,
    services: ServicesDep,
    response: Response,
) -> AccountState:
    """Let the account look, not submit. Open jobs go on."""
    return _change(services, account_id, order, signature, response)


@router.post("/accounts/{account_id}/resume")
def resume(
    account_id: str,
    order: Resume,
    signature: SignatureDep,
    services: ServicesDep,
    response: Response,
) -> AccountState:
    """Let the account submit again."""
    return _change(services, account_id, order, signature, response)


@router.post("/accounts/{account_id}/plan")
def set_plan(
    account_id: str,
    order: SetPlan,
    signature: SignatureDep,
    services: ServicesDep,
    response: Response,
) -> AccountState:
    """Put the account on a plan: a higher one now, a lower one when its period ends."""
    return _change(services, account_id, order, signature, response)


@router.post("/accounts/{account_id}/points/grant")
def grant(
    account_id: str,
    order: GrantPoints,
    signature: SignatureDep,
    services: ServicesDep,
    response: Response,
) -> AccountState:
    """Give points away."""
    return _change(services, account_id, order, signature, response)


@router.post("/accounts/{account_id}/points/topup")
def topup(
    account_id: str,
    order: TopUpPoints,
    signature: SignatureDep,
    services: ServicesDep,
    response: Response,
) -> AccountState:
    """Grant a pack that was paid for; a payment counts once."""
    return _change(services, account_id, order, signature, response)


@router.post("/accounts/{account_id}/points/correct")
def correct(
    account_id: str,
    order: CorrectPoints,
    signature: SignatureDep,
    services: ServicesDep,
    response: Response,
) -> AccountState:
    """Put points right: a positive number is granted, a negative one taken back."""
    return _change(services, account_id, order, signature, response)


@router.post("/bonus-codes", status_code=201)
def post_bonus_code(
    order: CreateCode, signature: SignatureDep, services: ServicesDep, response: Response
) -> CodeState:
    """Make a code that grants points to whoever names it, once per account."""
    with services.database.write() as connection:
        done = create_bonus_code(
            connection,
            order,
            signature,
            plans=services.configuration.plans,
            now=services.clock.now(),
        )
    response.headers.update(REPLAYED if done.is_replay else {})
    return done.result


def _change(
    services: Services,
    account_id: str,
    order: AccountOrder,
    signature: Signature,
    response: Response,
) -> AccountState:
    with services.database.write() as connection:
        done = change_account(
            connection,
            account_id,
            order,
            signature,
            plans=services.configuration.plans,
            now=services.clock.now(),
        )
    response.headers.update(REPLAYED if done.is_replay else {})
    return done.result
