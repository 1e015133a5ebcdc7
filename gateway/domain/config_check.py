"""What is probably a mistake in a configuration although every file of it is valid. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from gateway.domain.entitlement import allows
from gateway.domain.plans import Plan, Plans
from gateway.domain.pricing import PriceList, offered_specs
from models.card import ModelCard
from models.cardparts import parse_size
from models.catalog import Catalog

DAYS_AHEAD = 400
"""How far midnights are looked at: a year and a little more holds every change of the clocks."""


class WarningCode(StrEnum):
    """What looks wrong."""

    NOTHING_ALLOWED = "nothing_allowed"
    NOTHING_AFFORDABLE = "nothing_affordable"
    MODEL_WITHOUT_PLAN = "model_without_plan"
    UNKNOWN_MODEL = "unknown_model"
    PRICE_ZERO = "price_zero"
    LIMIT_WITHOUT_USE = "limit_without_use"
    MIDNIGHT_MISSING = "midnight_missing"
    RETENTION_TOO_SHORT = "retention_too_short"


@dataclass(frozen=True)
class ConfigWarning:
    """One probable mistake; `where` is the file and the key."""

    code: WarningCode
    where: str
    message: str


def find_warnings(
    catalog: Catalog, plans: Plans, prices: PriceList, *, file_url_ttl_s: float, today: date
) -> list[ConfigWarning]:
    """Everything in valid files that an operator should look at twice.

    `file_url_ttl_s` is how long a signed file link lives; midnights are looked at for
    `DAYS_AHEAD` days from `today`.
    """
    return [
        *(warning for plan in plans.plans for warning in _of_plan(plan, catalog, prices)),
        *_of_models(catalog, plans, prices),
        *_wide_limits(catalog, plans),
        *_missing_midnights(plans.zone, today),
        *_short_retention(plans, file_url_ttl_s),
    ]


def pools(catalog: Catalog) -> dict[str, list[str]]:
    """The models by pool. Which workers serve a pool is known only when they run."""
    found: dict[str, list[str]] = {}
    for card in catalog.models:
        found.setdefault(card.pool, []).append(card.id)
    return found


def _of_plan(plan: Plan, catalog: Catalog, prices: PriceList) -> Iterator[ConfigWarning]:
    where = f"plans.yaml: plans.{plan.id}"
    unknown = [name for name in plan.models or [] if catalog.find(name) is None]
    if unknown:
        yield ConfigWarning(
            WarningCode.UNKNOWN_MODEL, f"{where}.models", f"not served: {', '.join(unknown)}"
        )
    costs = [
        prices.quote(spec).points
        for card in catalog.models
        for spec in offered_specs(card)
        if allows(plan, spec)
    ]
    budget = plan.daily_points + plan.period_points
    if not costs:
        yield ConfigWarning(
            WarningCode.NOTHING_ALLOWED, where, "it allows no video of any served model"
        )
    elif min(costs) > budget:
        yield ConfigWarning(
            WarningCode.NOTHING_AFFORDABLE,
            where,
            f"its points ({budget}) pay for no video; the cheapest it allows costs {min(costs)}",
        )


def _of_models(catalog: Catalog, plans: Plans, prices: PriceList) -> Iterator[ConfigWarning]:
    for card in catalog.models:
        specs = offered_specs(card)
        if not any(allows(plan, spec) for plan in plans.plans for spec in specs):
            yield ConfigWarning(
                WarningCode.MODEL_WITHOUT_PLAN,
                f"models.yaml: models.{card.id}",
                "no plan allows any video of it",
            )
        free = [spec for spec in specs if prices.quote(spec).points == 0]
        if free:
            yield ConfigWarning(
                WarningCode.PRICE_ZERO,
                f"pricing.yaml: prices.{card.id}",
                f"{len(free)} of the {len(specs)} videos it offers cost nothing",
            )


def _wide_limits(catalog: Catalog, plans: Plans) -> Iterator[ConfigWarning]:
    """Bounds and choices of plans that no model can fill; one warning a key."""
    cards = catalog.models
    most = {
        "max_resolution": max(_short_side(card) for card in cards),
        "max_seconds": max(max(card.seconds) for card in cards),
        "max_fps": max(max(card.rate_sources) for card in cards),
    }
    for key, possible in most.items():
        limits = {plan.id: getattr(plan, key) for plan in plans.plans}
        wide = [f"{plan} {limit}" for plan, limit in limits.items() if limit > possible]
        if wide:
            listed = ", ".join(wide)
            message = f"no model goes beyond {possible}, allowed are: {listed}"
            yield ConfigWarning(WarningCode.LIMIT_WITHOUT_USE, f"plans.yaml: {key}", message)
    offered = {
        "kinds": {str(kind) for card in cards for kind in card.kinds},
        "modes": {mode for card in cards for mode in card.modes},
    }
    for plan in plans.plans:
        for key, names in offered.items():
            idle = [str(name) for name in getattr(plan, key) or [] if str(name) not in names]
            if idle:
                where = f"plans.yaml: plans.{plan.id}.{key}"
                message = f"no model has {', '.join(idle)}"
                yield ConfigWarning(WarningCode.LIMIT_WITHOUT_USE, where, message)


def _missing_midnights(zone: ZoneInfo, today: date) -> Iterator[ConfigWarning]:
    for number in range(DAYS_AHEAD):
        day = today + timedelta(days=number)
        midnight = datetime.combine(day, time.min, zone)
        starts = midnight.astimezone(UTC).astimezone(zone)
        if starts.time() != time.min:
            yield ConfigWarning(
                WarningCode.MIDNIGHT_MISSING,
                "plans.yaml: timezone",
                f"{day} has no 00:00 in {zone.key}; that day's points come at {starts:%H:%M}",
            )


def _short_retention(plans: Plans, file_url_ttl_s: float) -> Iterator[ConfigWarning]:
    for plan in plans.plans:
        if plan.retention_hours * 3600 < file_url_ttl_s:
            yield ConfigWarning(
                WarningCode.RETENTION_TOO_SHORT,
                f"plans.yaml: plans.{plan.id}.retention_hours",
                f"videos are kept for {plan.retention_hours * 3600} s, "
                f"links to them live {file_url_ttl_s:g} s (gateway.yaml: file_url_ttl_s)",
            )


def _short_side(card: ModelCard) -> int:
    return max(min(parse_size(size)) for size in card.size_sources)
