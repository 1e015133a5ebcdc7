"""Days and months by the calendar, prices rounded once, and the shipped files."""

from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from gateway.domain.calendar import months_after
from gateway.domain.entitlement import allows, cheaper_request, check_plan
from gateway.domain.errors import PlanLimit
from gateway.domain.plans import Plan, Plans, load_plans
from gateway.domain.pricing import (
    Multipliers,
    Price,
    PriceList,
    billed_seconds,
    load_prices,
    offered_specs,
)
from gateway.services import load_configuration
from models.card import ModelCard
from models.catalog import load_catalog
from models.configfile import ConfigError
from models.spec import Keyframe, Kind, VideoSpec

ROOT = Path(__file__).parents[3]
CONFIGS = ROOT / "configs"
TEST_PLANS = ROOT / "tests" / "support" / "plans.yaml"


def plans_in(zone: str) -> Plans:
    """The plans of the tests, counted in `zone`."""
    return load_plans(TEST_PLANS).model_copy(update={"timezone": zone})


def spec(num_frames: int = 17, fps: int = 8, **changes: Any) -> VideoSpec:
    """A clip of this length."""
    fields: dict[str, Any] = {
        "kind": Kind.TEXT_TO_VIDEO,
        "model": "reel-tiny",
        "prompt": "x",
        "width": 64,
        "height": 64,
        "num_frames": num_frames,
        "fps": fps,
        "num_inference_steps": 12,
        "guidance_scale": 3,
        "seed": 0,
    }
    return VideoSpec(**(fields | changes))


def price_list(per_second: str, **changes: Any) -> PriceList:
    """One price for the one model."""
    price = Price(model="reel-tiny", points_per_second=Decimal(per_second), **changes)
    return PriceList(prices=[price])


def shipped_card(modes: dict[str, Decimal]) -> ModelCard:
    """The first model of the shipped catalog, with no more modes than `modes`."""
    card, *_ = load_catalog(CONFIGS / "models.yaml").models
    return card.model_copy(update={"modes": {mode: card.modes[mode] for mode in modes}})


@pytest.mark.parametrize(
    ("num_frames", "fps", "seconds"),
    [(17, 8, Fraction(2)), (18, 8, Fraction(17, 8)), (1, 8, Fraction(0)), (121, 24, Fraction(5))],
)
def test_motion_is_billed(num_frames: int, fps: int, seconds: Fraction) -> None:
    assert billed_seconds(spec(num_frames, fps)) == seconds


@pytest.mark.parametrize(
    ("per_second", "num_frames", "changes", "points"),
    [
        ("5", 17, {}, 10),
        ("5", 18, {}, 11),
        ("0.1", 17, {}, 1),
        ("0.5", 17, {}, 1),
        ("5", 17, {"flat_points": 3}, 13),
        ("5", 17, {"min_seconds": 4}, 20),
        ("5", 1, {}, 0),
        ("3", 17, {"multipliers": Multipliers(mode={"standard": Decimal("3.5")})}, 21),
        ("0.1", 17, {"multipliers": Multipliers(fps={8: Decimal(5)})}, 1),
        ("1", 17, {"multipliers": Multipliers(resolution={32: Decimal(9), 64: Decimal(2)})}, 4),
    ],
)
def test_a_price_is_rounded_up_once(
    per_second: str, num_frames: int, changes: dict[str, Any], points: int
) -> None:
    assert price_list(per_second, **changes).quote(spec(num_frames)).points == points


def test_several_factors_are_multiplied_before_rounding() -> None:
    factors = Multipliers(
        kind={Kind.TEXT_TO_VIDEO: Decimal("1.1")}, mode={"standard": Decimal("1.1")}
    )
    assert price_list("1.1", multipliers=factors).quote(spec()).points == 3
    assert price_list("5", multipliers=factors).quote(spec()).points == 13


def test_sound_multiplies_the_price_of_a_video_that_has_it() -> None:
    prices = price_list("5", multipliers=Multipliers(audio=Decimal("1.5")))
    silent, sounding = (
        prices.quote(spec().model_copy(update={"generate_audio": has_sound}))
        for has_sound in (False, True)
    )
    assert (silent.points, sounding.points) == (10, 15)
    assert "audio" not in silent.breakdown.multipliers
    assert sounding.breakdown.multipliers["audio"] == Decimal("1.5")


def test_a_cheaper_request_keeps_the_sound_where_it_can() -> None:
    modes = {"standard": Decimal(1), "pro": Decimal(2)}
    card = shipped_card(modes).model_copy(update={"audio": "out"})
    prices = price_list("5", multipliers=Multipliers(audio=Decimal("1.5"), mode=modes))
    plan = load_configuration(CONFIGS).plans.plans[-1]
    wanted = spec(mode="pro").model_copy(update={"generate_audio": True})
    for available, kept in ((29, (False, "pro")), (15, (True, "standard"))):
        found = cheaper_request(wanted, card, plan=plan, prices=prices, available=available)
        assert found is not None
        assert (found.generate_audio, found.mode) == kept


def test_a_cheaper_request_with_keyframes_has_room_for_them_at_their_frames() -> None:
    fps = {8: Decimal(1), 16: Decimal(2), 24: Decimal(3), 48: Decimal(4)}
    modes = {"standard": Decimal(1), "pro": Decimal(2)}
    card = shipped_card(modes).model_copy(update={"seconds": [2]})
    prices = price_list("5", multipliers=Multipliers(fps=fps, mode=modes))
    plan = load_configuration(CONFIGS).plans.plans[-1]
    wanted = spec(33, 16, mode="pro")
    placed = wanted.model_copy(update={"keyframes": (Keyframe(frame=32),)})
    for available, rates in ((39, (16, 16)), (19, (8, None))):
        for asked, rate in zip((wanted, placed), rates, strict=True):
            found = cheaper_request(asked, card, plan=plan, prices=prices, available=available)
            assert (found.fps if found else None) == rate, available


def test_a_breakdown_prices_another_length_alike() -> None:
    quote = price_list("5", flat_points=1).quote(spec())
    assert quote.breakdown.for_seconds(Fraction(3, 2)).points == 9
    assert type(quote.breakdown).model_validate(quote.breakdown.model_dump(mode="json")) == (
        quote.breakdown
    )


def test_the_price_version_follows_the_prices() -> None:
    cheap = price_list("1")
    assert cheap.version == PriceList.model_validate(cheap.model_dump()).version
    assert cheap.version != price_list("2").version


@pytest.mark.parametrize(
    ("zone", "day", "end"),
    [
        ("Asia/Shanghai", date(2026, 11, 21), "2026-11-21T16:00:00+00:00"),
        ("America/New_York", date(2026, 3, 8), "2026-03-09T04:00:00+00:00"),
        ("America/New_York", date(2026, 11, 1), "2026-11-02T05:00:00+00:00"),
        ("Africa/Cairo", date(2026, 4, 23), "2026-04-23T22:00:00+00:00"),
        ("America/Santiago", date(2026, 9, 5), "2026-09-06T04:00:00+00:00"),
    ],
)
def test_a_day_ends_at_the_next_local_midnight(zone: str, day: date, end: str) -> None:
    assert plans_in(zone).end_of(day).astimezone(UTC).isoformat() == end


def test_the_day_is_counted_in_the_plans_zone() -> None:
    plans = plans_in("Asia/Shanghai")
    assert plans.day_of(datetime(2026, 11, 21, 15, 59, 59, tzinfo=UTC)) == date(2026, 11, 21)
    assert plans.day_of(datetime(2026, 11, 21, 16, 0, tzinfo=UTC)) == date(2026, 11, 22)


@pytest.mark.parametrize(
    ("anchor", "expected"),
    [
        (date(2026, 1, 31), ["2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31"]),
        (date(2028, 1, 30), ["2028-02-29", "2028-03-30", "2028-04-30", "2028-05-30"]),
        (date(2026, 11, 15), ["2026-12-15", "2027-01-15", "2027-02-15", "2027-03-15"]),
    ],
)
def test_months_are_counted_from_the_anchor(anchor: date, expected: list[str]) -> None:
    assert [months_after(anchor, number).isoformat() for number in range(1, 5)] == expected


def test_the_shipped_configuration_affords_a_job_a_day_on_every_plan() -> None:
    configuration = load_configuration(CONFIGS)
    for plan in configuration.plans.plans:
        for card in configuration.catalog.models:
            prices = [
                configuration.prices.quote(offered).points
                for offered in offered_specs(card)
                if allows(plan, offered)
            ]
            assert prices, f"{plan.id} allows nothing of {card.id}"
            assert min(prices) <= plan.daily_points, f"{plan.id} affords no job of {card.id}"


def test_a_model_without_a_price_is_not_served(tmp_path: Path) -> None:
    path = tmp_path / "pricing.yaml"
    path.write_text("prices: []\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="no price for model reel-tiny"):
        load_prices(path, load_catalog(CONFIGS / "models.yaml"))


def test_a_mode_without_a_price_is_named(tmp_path: Path) -> None:
    path = tmp_path / "pricing.yaml"
    text = (CONFIGS / "pricing.yaml").read_text(encoding="utf-8")
    path.write_text(text.replace(", pro: 2", ""), encoding="utf-8")
    with pytest.raises(ConfigError, match="no price for model reel-tiny: 'pro'"):
        load_prices(path, load_catalog(CONFIGS / "models.yaml"))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("daily_points: -1", "greater than or equal to 0"),
        ("daily_points: 1.5", "valid integer"),
        ("daily_points: 1e12", "valid integer"),
        ("daily_points: 12:30", "valid integer"),
        ("daily_points: on", "valid integer"),
        ("daily_points: 66\n    daily_points: 67", "duplicate key"),
    ],
)
def test_a_wrong_amount_is_named_with_its_line(tmp_path: Path, wrong: str, says: str) -> None:
    path = tmp_path / "plans.yaml"
    text = TEST_PLANS.read_text(encoding="utf-8")
    path.write_text(text.replace("daily_points: 60", wrong, 1), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_plans(path)
    first = text.splitlines().index("    daily_points: 60") + 1
    assert says in str(caught.value)
    assert str(caught.value).startswith((f"{path}:{first}: ", f"{path}:{first + 1}: "))


def test_a_zone_that_is_none_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "plans.yaml"
    text = (CONFIGS / "plans.yaml").read_text(encoding="utf-8")
    path.write_text(text.replace("Asia/Shanghai", "Asia/Nowhere"), encoding="utf-8")
    line = text.splitlines().index("timezone: Asia/Shanghai") + 1
    with pytest.raises(ConfigError, match=rf"plans\.yaml:{line}: timezone: .*Asia/Nowhere"):
        load_plans(path)


def wide_card() -> ModelCard:
    """A model with something to choose."""
    card, *_ = load_catalog(CONFIGS / "models.yaml").models
    return card.model_copy(update={"sizes": ["64x64", "128x128"], "seconds": [2, 4]})


def limited_plan(**changes: Any) -> Plan:
    """The default plan of the tests with other limits."""
    return load_plans(TEST_PLANS).default.model_copy(update=changes)


@pytest.mark.parametrize(
    ("limits", "asked", "param", "limit", "value"),
    [
        ({"models": ["other"]}, {}, "model", ["other"], "reel-tiny"),
        ({"kinds": [Kind.IMAGE_TO_VIDEO]}, {}, "kind", ["image_to_video"], "text_to_video"),
        ({"modes": ["standard"]}, {"mode": "pro"}, "mode", ["standard"], "pro"),
        ({"max_resolution": 64}, {"width": 96, "height": 128}, "size", 64, 96),
        ({"max_seconds": 1}, {}, "seconds", 1, 2),
        ({"max_fps": 4}, {}, "fps", 4, 8),
    ],
)
def test_a_plan_names_what_it_does_not_allow(
    limits: dict[str, Any], asked: dict[str, Any], param: str, limit: object, value: object
) -> None:
    higher = limited_plan(id="higher")
    plan = limited_plan(**limits)
    plans = load_plans(TEST_PLANS).model_copy(update={"plans": [plan, higher]})
    with pytest.raises(PlanLimit) as caught:
        check_plan(spec(**asked), plan, plans)
    assert (caught.value.param, caught.value.limit, caught.value.value) == (param, limit, value)
    assert caught.value.smallest_plan == "higher"
    check_plan(spec(**asked), higher, plans)


def test_the_offer_is_the_dearest_that_fits() -> None:
    card, plan = wide_card(), limited_plan()
    prices = price_list("5", multipliers=Multipliers(resolution={64: Decimal(1), 128: Decimal(3)}))
    wanted = card.example(
        kind=Kind.TEXT_TO_VIDEO, mode="standard", size="128x128", fps=8, seconds=4
    )
    assert prices.quote(wanted).points == 60

    def offer(available: int) -> tuple[str, int] | None:
        found = cheaper_request(wanted, card, plan=plan, prices=prices, available=available)
        return (found.size, found.num_frames) if found else None

    assert offer(59) == ("128x128", 17)
    assert offer(29) == ("64x64", 33)
    assert offer(19) == ("64x64", 17)
    assert offer(9) is None


def test_the_offer_is_no_longer_than_what_was_asked() -> None:
    card = wide_card()
    prices = price_list("5", multipliers=Multipliers(resolution={64: Decimal(1), 128: Decimal(3)}))
    wanted = card.example(
        kind=Kind.TEXT_TO_VIDEO, mode="standard", size="128x128", fps=8, seconds=2
    )
    found = cheaper_request(wanted, card, plan=limited_plan(), prices=prices, available=29)
    assert found is not None
    assert (found.size, found.num_frames) == ("64x64", 17)
