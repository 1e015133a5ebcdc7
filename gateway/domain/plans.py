"""Plans: what an account may do, read from `configs/plans.yaml`."""

from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from models.configfile import load_yaml_as


class Plan(BaseModel):
    """One product tier.

    Attributes:
        daily_points: granted on the first touch of a calendar day, gone at its end.
        max_open_jobs: jobs that may wait or run at once.
        retention_hours: how long finished videos are kept.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
    title: str
    daily_points: Annotated[int, Field(ge=0)]
    max_open_jobs: Annotated[int, Field(ge=1)]
    retention_hours: Annotated[int, Field(ge=1)]


class Plans(BaseModel):
    """All plans, and the time zone whose midnights end a day. The first plan is the default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    timezone: str
    plans: Annotated[list[Plan], Field(min_length=1)]

    @field_validator("timezone")
    @classmethod
    def _is_a_zone(cls, name: str) -> str:
        if name not in available_timezones():
            raise ValueError(f"{name!r} is not an IANA time zone, such as Asia/Shanghai")
        return name

    @model_validator(mode="after")
    def _ids_are_unique(self) -> "Plans":
        ids = [plan.id for plan in self.plans]
        if len(set(ids)) != len(ids):
            raise ValueError("two plans share an id")
        return self

    @property
    def default(self) -> Plan:
        """The plan of a new account."""
        return self.plans[0]

    def get(self, plan_id: str) -> Plan:
        """The plan of this id; the default for one that left the file."""
        return next((plan for plan in self.plans if plan.id == plan_id), self.default)

    def day_of(self, now: datetime) -> date:
        """The calendar day that `now` falls on."""
        return now.astimezone(ZoneInfo(self.timezone)).date()

    def end_of(self, day: date) -> datetime:
        """The first instant after `day`, in the plans' zone: by calendar, days are not 24 h."""
        return datetime.combine(day + timedelta(days=1), time.min, ZoneInfo(self.timezone))


def load_plans(path: Path) -> Plans:
    """Read `configs/plans.yaml`.

    Raises:
        ConfigError: with file, line and key of every mistake.
    """
    return load_yaml_as(path, Plans)
