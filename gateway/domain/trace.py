"""Requests as they were sent, for simulations: read from CSV, or made up from a seed. Pure."""

import csv
import random
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from itertools import accumulate
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from gateway.domain.plans import Plans
from models.catalog import Catalog
from models.spec import Kind

_SYNTHETIC_START = date(2026, 1, 5)
_SYNTHETIC_DAYS = 7
_REQUESTS_PER_ACCOUNT = 10
_FREE_SHARE = 0.8
_USUAL_CHOICE_SHARE = 0.7


class Outcome(StrEnum):
    """How a request ended, or would have if it was refused then."""

    OK = "ok"
    FAILED = "failed"
    CANCELED = "canceled"


# Shares of outcomes that are neither worst nor best of what installations see.
_OUTCOME_SHARES = {Outcome.OK: 92, Outcome.FAILED: 5, Outcome.CANCELED: 3}


def _instant(value: object) -> object:
    """An ISO instant with its offset; anything else is refused."""
    instant = datetime.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(instant, datetime) or instant.tzinfo is None:
        raise ValueError("an ISO instant with its offset is needed, such as 2026-01-05T08:00:00Z")
    return instant.astimezone(UTC)


class Request(BaseModel):
    """One line of a trace."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: Annotated[datetime, BeforeValidator(_instant)]
    account: Annotated[str, Field(min_length=1)]
    plan: Annotated[str, Field(min_length=1)]
    model: str
    kind: Kind
    mode: str
    size: str
    seconds: Annotated[int, Field(ge=1)]
    fps: Annotated[int, Field(ge=1)]
    outcome: Outcome


COLUMNS = tuple(Request.model_fields)


class TraceError(Exception):
    """A trace that cannot be read: `problems` holds one `name:line: column: why` each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def parse_trace(lines: Iterable[str], name: str) -> list[Request]:
    """The requests of a CSV file with a head line, in the order of their instants.

    Raises:
        TraceError: with the line of every mistake; `name` is what the file is called there.
    """
    reader = csv.DictReader(lines, restkey="", strict=True)
    missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
    if missing:
        raise TraceError([f"{name}:1: {', '.join(missing)}: missing in the head line"])
    requests: list[Request] = []
    problems: list[str] = []
    try:
        for row in reader:
            try:
                requests.append(Request.model_validate(row))
            except ValidationError as error:
                problems += [f"{name}:{reader.line_num}: {_why(found)}" for found in error.errors()]
    except csv.Error as error:
        problems.append(f"{name}:{reader.line_num}: row: {error}")
    if problems:
        raise TraceError(problems)
    return sorted(requests, key=lambda request: request.at)


def synthetic_trace(
    num_requests: int, seed: int, *, catalog: Catalog, plans: Plans
) -> list[Request]:
    """Made-up requests of one week, most of them from free accounts; a seed gives the same ones."""
    generator = random.Random(seed)  # noqa: S311 -- repeatable on purpose, and no secret
    num_accounts = max(num_requests // _REQUESTS_PER_ACCOUNT, 1)
    paid = [plan.id for plan in plans.plans[1:]]
    account_plans = [
        generator.choice(paid) if paid and generator.random() > _FREE_SHARE else plans.default.id
        for _ in range(num_accounts)
    ]
    # Few accounts send much and many send little, as everywhere (Zipf).
    activity = list(accumulate(1 / rank for rank in range(1, num_accounts + 1)))
    start = plans.start_of(_SYNTHETIC_START).astimezone(UTC)
    requests = []
    for _ in range(num_requests):
        [number] = generator.choices(range(num_accounts), cum_weights=activity)
        after = timedelta(seconds=generator.randrange(_SYNTHETIC_DAYS * 24 * 3600))
        choices = _choices(generator, catalog)
        requests.append(
            Request(
                at=start + after,
                account=f"account-{number}",
                plan=account_plans[number],
                outcome=generator.choices([*_OUTCOME_SHARES], [*_OUTCOME_SHARES.values()])[0],
                **choices,
            )
        )
    return sorted(requests, key=lambda request: request.at)


def _choices(generator: random.Random, catalog: Catalog) -> dict[str, Any]:
    """What is asked for: mostly the first of each thing a model offers."""

    def choose(offers: list[Any]) -> Any:  # noqa: ANN401 -- offers are of several types
        usual = generator.random() < _USUAL_CHOICE_SHARE
        return offers[0] if usual else generator.choice(offers)

    card = choose(catalog.models)
    return {
        "model": card.id,
        "kind": choose(card.kinds),
        "mode": choose([*card.modes]),
        "size": choose([*card.size_sources]),
        "seconds": choose(card.seconds),
        "fps": choose([*card.rate_sources]),
    }


def _why(found: Any) -> str:  # noqa: ANN401 -- pydantic's own error record
    column = ".".join(str(part) for part in found["loc"]) or "row"
    if found["type"] == "extra_forbidden":
        return f"{column}: no such column; there are {', '.join(COLUMNS)}"
    return f"{column}: {found['msg']} (seen: {found['input']!r})"
