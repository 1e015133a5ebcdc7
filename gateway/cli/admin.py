"""`reelgate admin`: what operators do to accounts. Works with and without a running gateway.

The same functions as `/admin/v1`; every write needs a reason and is logged.
"""

from typing import Annotated

import typer

from gateway.admin.accounts import get_account_id
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
from gateway.admin.service import change_account, create_account, create_bonus_code, show_account
from gateway.cli.admin_keys import key_app
from gateway.cli.admin_records import add_records
from gateway.cli.desk import (
    AccountArgument,
    JsonOption,
    KeyOption,
    PointsOption,
    ReasonOption,
    open_services,
    show_done,
    show_instant,
    show_state,
    sign,
)
from gateway.cli.operate import operate
from gateway.services import Services

admin = typer.Typer(help="Accounts, points, keys and records.", no_args_is_help=True)
account_app = typer.Typer(help="Accounts.", no_args_is_help=True)
plan_app = typer.Typer(help="Plans of accounts.", no_args_is_help=True)
points_app = typer.Typer(help="Points of accounts.", no_args_is_help=True)
code_app = typer.Typer(help="Bonus codes.", no_args_is_help=True)
admin.add_typer(account_app, name="account")
admin.add_typer(plan_app, name="plan")
admin.add_typer(points_app, name="points")
admin.add_typer(code_app, name="code")
admin.add_typer(key_app, name="key")
admin.add_typer(operate)
add_records(admin)

_ValidDays = Annotated[
    int, typer.Option("--valid-days", help="They live until the end of the day this far ahead.")
]


@account_app.command("create")
def account_create(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    *,
    reason: ReasonOption,
    plan: Annotated[str | None, typer.Option(help="The default plan if left out.")] = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make an account."""
    with open_services() as services, services.database.write() as connection:
        done = create_account(
            connection,
            CreateAccount(name=name, plan=plan, reason=reason),
            sign(key),
            plans=services.configuration.plans,
            now=services.clock.now(),
        )
    show_done(done, as_json=as_json)


@account_app.command("show")
def account_show(account: AccountArgument, *, as_json: JsonOption = False) -> None:
    """Show an account, brought up to now as if its owner had come."""
    with open_services() as services, services.database.write() as connection:
        state = show_account(
            connection,
            get_account_id(connection, account),
            plans=services.configuration.plans,
            now=services.clock.now(),
        )
    show_state(state, as_json=as_json)


@account_app.command("suspend")
def account_suspend(
    account: AccountArgument,
    *,
    reason: ReasonOption,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let the account look, not submit. Open jobs go on."""
    with open_services() as services:
        _change(services, account, Suspend(reason=reason), key, as_json=as_json)


@account_app.command("resume")
def account_resume(
    account: AccountArgument,
    *,
    reason: ReasonOption,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let the account submit again."""
    with open_services() as services:
        _change(services, account, Resume(reason=reason), key, as_json=as_json)


@plan_app.command("set")
def plan_set(
    account: AccountArgument,
    plan: Annotated[str, typer.Argument(metavar="PLAN")],
    *,
    reason: ReasonOption,
    periods: Annotated[int | None, typer.Option(help="Months; without end if left out.")] = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put the account on a plan: a higher one now, a lower one when its period ends."""
    with open_services() as services:
        order = SetPlan(plan=plan, num_periods=periods, reason=reason)
        _change(services, account, order, key, as_json=as_json)


@points_app.command("grant")
def points_grant(
    account: AccountArgument,
    *,
    points: PointsOption,
    reason: ReasonOption,
    valid_days: _ValidDays = 30,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give points away."""
    with open_services() as services:
        order = GrantPoints(points=points, valid_days=valid_days, reason=reason)
        _change(services, account, order, key, as_json=as_json)


@points_app.command("topup")
def points_topup(
    account: AccountArgument,
    *,
    pack: Annotated[str, typer.Option(help="Id of a pack of plans.yaml.")],
    payment: Annotated[str, typer.Option(help="Id of the payment; it counts once.")],
    reason: ReasonOption,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Grant a pack that was paid for."""
    with open_services() as services:
        order = TopUpPoints(pack=pack, payment_id=payment, reason=reason)
        _change(services, account, order, key, as_json=as_json)


@points_app.command("correct")
def points_correct(
    account: AccountArgument,
    *,
    points: Annotated[int, typer.Option(help="Positive is granted, negative taken back.")],
    reason: ReasonOption,
    valid_days: _ValidDays = 365,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put points right. What is held or spent is never taken back."""
    with open_services() as services:
        order = CorrectPoints(points=points, valid_days=valid_days, reason=reason)
        _change(services, account, order, key, as_json=as_json)


@code_app.command("create")
def code_create(
    code: Annotated[str, typer.Argument(metavar="CODE", help="Of A-Z, 0-9 and -.")],
    *,
    points: PointsOption,
    reason: ReasonOption,
    valid_days: _ValidDays = 30,
    max_uses: Annotated[int, typer.Option(help="Accounts that may use it.")] = 1,
    usable_days: Annotated[int, typer.Option(help="Days in which it may be used.")] = 30,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a bonus code."""
    with open_services() as services, services.database.write() as connection:
        order = CreateCode(
            code=code,
            points=points,
            valid_days=valid_days,
            max_uses=max_uses,
            usable_days=usable_days,
            reason=reason,
        )
        plans, now = services.configuration.plans, services.clock.now()
        done = create_bonus_code(connection, order, sign(key), plans=plans, now=now)
    made = done.result
    until = show_instant(made.expires_at)
    text = f"{made.code}: {made.points} points for {made.max_uses} accounts, usable until {until}"
    typer.echo(made.model_dump_json() if as_json else text)


def _change(
    services: Services, account: str, order: AccountOrder, key: str | None, *, as_json: bool
) -> None:
    with services.database.write() as connection:
        done = change_account(
            connection,
            get_account_id(connection, account),
            order,
            sign(key),
            plans=services.configuration.plans,
            now=services.clock.now(),
        )
    show_done(done, as_json=as_json)
