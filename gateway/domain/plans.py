"""Plans: what an account may do and which points it gets, read from `configs/plans.yaml`."""

from datetime import date, datetime
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from gateway.domain import calendar
from gateway.domain.points import LotKind
from models.configfile import load_yaml_as
from models.spec import Kind

PlanId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
Points = Annotated[int, Field(ge=0, le=1_000_000_000, strict=True)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Plan(_Strict):
    """One product tier. Later in the file means higher.

    Attributes:
        price_cny: of one billing period, in yuan; shown, never collected here.
        daily_points: granted on the first touch of a calendar day, gone at its end.
        period_points: granted per billing period of a month, gone at its end.
        max_running: jobs that may run at once.
        max_queued: jobs that may wait beside them.
        max_jobs_per_day: jobs submitted in a calendar day; None is no cap.
        weight: share of the devices among plans that wait.
        models: ids it may use; None is all.
        modes: the names of modes it may use; None is all.
        max_resolution: longest allowed short side in pixels.
        retention_hours: how long finished videos are kept.
    """

    id: PlanId
    title: str
    price_cny: Annotated[float, Field(ge=0)]
    daily_points: Points
    period_points: Points
    max_running: Annotated[int, Field(ge=1)]
    max_queued: Annotated[int, Field(ge=1)]
    max_jobs_per_day: Annotated[int, Field(ge=1)] | None = None
    weight: Annotated[int, Field(ge=1)]
    models: list[str] | None = None
    kinds: Annotated[list[Kind], Field(min_length=1)]
    modes: list[str] | None = None
    max_resolution: Annotated[int, Field(ge=1)]
    max_seconds: Annotated[int, Field(ge=1)]
    max_fps: Annotated[int, Field(ge=1)]
    retention_hours: Annotated[int, Field(ge=1)]


class TopUp(_Strict):
    """Points to be bought apart from a plan; `valid_days` from the purchase."""

    id: PlanId
    points: Annotated[int, Field(ge=1, le=1_000_000_000, strict=True)]
    price_cny: Annotated[float, Field(ge=0)]
    valid_days: Annotated[int, Field(ge=1)]


class PointRules(_Strict):
    """How points are drawn and given back.

    Attributes:
        draw_order: which lots are spent first; within one kind, what expires soonest.
        grace_hours: life of points that a failure of ours gives back after their lot expired.
    """

    draw_order: list[LotKind]
    grace_hours: Annotated[int, Field(ge=1)]

    @field_validator("draw_order")
    @classmethod
    def _names_every_kind_once(cls, order: list[LotKind]) -> list[LotKind]:
        if sorted(order) != sorted(LotKind):
            raise ValueError(f"name each of {', '.join(LotKind)} once")
        return order

    def priority(self, kind: LotKind) -> int:
        """Lower is drawn first."""
        return self.draw_order.index(kind)


class Plans(_Strict):
    """All plans, lowest first; the first is free and the default of a new account.

    Attributes:
        timezone: whose midnights end a day and whose days count a period.
    """

    timezone: str
    points: PointRules
    plans: Annotated[list[Plan], Field(min_length=1)]
    topups: list[TopUp] = Field(default_factory=list)

    @field_validator("timezone")
    @classmethod
    def _is_a_zone(cls, name: str) -> str:
        if name not in available_timezones():
            raise ValueError(f"{name!r} is not an IANA time zone, such as Asia/Shanghai")
        return name

    @model_validator(mode="after")
    def _hold_together(self) -> "Plans":
        for what, ids in (
            ("plans", [plan.id for plan in self.plans]),
            ("topups", [pack.id for pack in self.topups]),
        ):
            if len(set(ids)) != len(ids):
                raise ValueError(f"two {what} share an id")
        if self.default.period_points:
            raise ValueError(
                f"the first plan, {self.default.id}, is nobody's purchase, so it has no period: "
                "its period_points must be 0"
            )
        return self

    @property
    def default(self) -> Plan:
        """The plan of a new account."""
        return self.plans[0]

    @property
    def zone(self) -> ZoneInfo:
        """The time zone as an object."""
        return ZoneInfo(self.timezone)

    def find(self, plan_id: str) -> Plan | None:
        """The plan of this id, or None."""
        return next((plan for plan in self.plans if plan.id == plan_id), None)

    def get(self, plan_id: str) -> Plan:
        """The plan of this id; the default for one that has left the file."""
        return self.find(plan_id) or self.default

    def rank(self, plan: Plan) -> int:
        """Higher is a higher tier."""
        return self.plans.index(plan)

    def find_topup(self, topup_id: str) -> TopUp | None:
        """The pack of this id, or None."""
        return next((pack for pack in self.topups if pack.id == topup_id), None)

    def day_of(self, now: datetime) -> date:
        """The calendar day that `now` falls on."""
        return calendar.day_of(now, self.zone)

    def start_of(self, day: date) -> datetime:
        """The first instant of `day`."""
        return calendar.start_of(day, self.zone)

    def end_of(self, day: date) -> datetime:
        """The first instant after `day`."""
        return calendar.end_of(day, self.zone)

    def period_start(self, anchor: date, number: int) -> datetime:
        """The first instant of billing period `number`, the one of the purchase being 0."""
        return calendar.start_of(calendar.months_after(anchor, number), self.zone)


def load_plans(path: Path) -> Plans:
    """Read `configs/plans.yaml`.

    Raises:
        ConfigError: with file, line and key of every mistake.
    """
    return load_yaml_as(path, Plans)
