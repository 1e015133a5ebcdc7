"""What operators can order, as checked values: HTTP bodies and commands become these.

Numbers are whole as they are written: nothing is made of `12.5`, `"12"` or `true`.
"""

from typing import Annotated, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)
from pydantic_core import PydanticCustomError

from gateway.accounts.service import Scope
from gateway.admin.log import Action
from gateway.protocol import WorkerName

MAX_POINTS = 1_000_000_000
MAX_DAYS = 3650
_MAX_PERIODS = 120
_MAX_USES = 1_000_000_000


def _whole(least: int, most: int) -> BeforeValidator:
    """Takes integers from `least` to `most` as they are, and coerces nothing."""

    def check(value: object) -> object:
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        if is_whole and least <= value <= most:  # type: ignore[operator]  # an int by now
            return value
        raise PydanticCustomError(
            "whole_number",
            "must be a whole number from {min} to {max}",
            {"min": least, "max": most},
        )

    return BeforeValidator(check)


def _not_zero(points: int) -> int:
    if points == 0:
        raise PydanticCustomError("zero", "must not be 0", {"not": 0})
    return points


# One line of text: neither database takes NUL, and a log line stays one line.
_LINE = r"^[^\x00-\x1f\x7f]*$"
Points = Annotated[int, Field(ge=1, le=MAX_POINTS), _whole(1, MAX_POINTS)]
SignedPoints = Annotated[int, Field(ge=-MAX_POINTS, le=MAX_POINTS), _whole(-MAX_POINTS, MAX_POINTS)]
Days = Annotated[int, Field(ge=1, le=MAX_DAYS), _whole(1, MAX_DAYS)]
Periods = Annotated[int, Field(ge=1, le=_MAX_PERIODS), _whole(1, _MAX_PERIODS)]
Uses = Annotated[int, Field(ge=1, le=_MAX_USES), _whole(1, _MAX_USES)]
Reason = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=_LINE)
]
Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64, pattern=_LINE)
]
PaymentId = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,100}$")]
# Upper case and no underscore: codes are compared exactly and searched with LIKE.
Code = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9-]{4,64}$")]


class Order(BaseModel):
    """Something to be done, and why: `reason` is one line of 1 to 500 characters."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    action: ClassVar[Action]

    reason: Reason


class CreateAccount(Order):
    """A new account; on the default plan if none is named."""

    action = Action.ACCOUNT_CREATE
    name: Name
    plan: str | None = None


class Suspend(Order):
    """The account may look, not submit."""

    action = Action.ACCOUNT_SUSPEND


class Resume(Order):
    """The account may submit again."""

    action = Action.ACCOUNT_RESUME


class SetPlan(Order):
    """A higher plan holds at once, a lower one when the current period ends."""

    action = Action.PLAN_SET
    plan: str
    num_periods: Periods | None = None


class GrantPoints(Order):
    """Points given away; they live until the end of the day `valid_days` from today."""

    action = Action.POINTS_GRANT
    points: Points
    valid_days: Days


class TopUpPoints(Order):
    """A pack that was paid for; a payment counts once."""

    action = Action.POINTS_TOPUP
    pack: str
    payment_id: PaymentId


class CorrectPoints(Order):
    """Points put right: a positive number is granted, a negative one taken back."""

    action = Action.POINTS_CORRECT
    points: Annotated[SignedPoints, AfterValidator(_not_zero)]
    valid_days: Days = 365


class CreateCode(Order):
    """A bonus code: `points` that live `valid_days`, for whoever names it in `usable_days`."""

    action = Action.CODE_CREATE
    code: Code
    points: Points
    valid_days: Days
    max_uses: Uses
    usable_days: Days


class IssueKey(Order):
    """A new API key of an account."""

    action = Action.KEY_CREATE
    scope: Scope


class WithdrawKey(Order):
    """An API key made useless."""

    action = Action.KEY_REVOKE


class DrainWorker(Order):
    """A worker gets no more jobs, also after a restart. What it has, it finishes."""

    action = Action.WORKER_DRAIN
    worker: WorkerName


class UndrainWorker(Order):
    """A worker gets jobs again."""

    action = Action.WORKER_UNDRAIN
    worker: WorkerName


WorkerOrder = DrainWorker | UndrainWorker
AccountOrder = Suspend | Resume | SetPlan | GrantPoints | TopUpPoints | CorrectPoints
