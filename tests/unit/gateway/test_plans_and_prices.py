"""Days by the calendar, prices by the whole second, and the shipped files."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from gateway.domain.plans import Plan, Plans, load_plans
from gateway.domain.pricing import Price, PriceList, billed_seconds, load_prices
from gateway.services import load_configuration
from models.catalog import load_catalog
from models.configfile import ConfigError
from models.spec import Kind, VideoSpec

CONFIGS = Path(__file__).parents[3] / "configs"
FREE = Plan(id="free", title="Free", daily_points=60, max_open_jobs=10, retention_hours=72)


def spec(num_frames: int, fps: int) -> VideoSpec:
    """A clip of this length."""
    return VideoSpec(
        kind=Kind.TEXT_TO_VIDEO,
        model="reel-tiny",
        prompt="x",
        width=64,
        height=64,
        num_frames=num_frames,
        fps=fps,
        num_inference_steps=12,
        guidance_scale=3,
        seed=0,
    )


@pytest.mark.parametrize(
    ("num_frames", "fps", "seconds"), [(17, 8, 2), (18, 8, 3), (1, 8, 0), (121, 24, 5), (2, 24, 1)]
)
def test_motion_is_billed_by_the_started_second(num_frames: int, fps: int, seconds: int) -> None:
    assert billed_seconds(spec(num_frames, fps)) == seconds
    prices = PriceList(prices=[Price(model="reel-tiny", points_per_second=7)])
    assert prices.quote(spec(num_frames, fps)).points == 7 * seconds


def test_the_price_version_follows_the_prices() -> None:
    cheap = PriceList(prices=[Price(model="a", points_per_second=1)])
    dear = PriceList(prices=[Price(model="a", points_per_second=2)])
    assert cheap.version == PriceList.model_validate(cheap.model_dump()).version
    assert cheap.version != dear.version


@pytest.mark.parametrize(
    ("zone", "day", "end"),
    [
        ("Asia/Shanghai", date(2026, 11, 21), "2026-11-21T16:00:00+00:00"),
        ("America/New_York", date(2026, 3, 8), "2026-03-09T04:00:00+00:00"),
        ("America/New_York", date(2026, 11, 1), "2026-11-02T05:00:00+00:00"),
        ("Africa/Cairo", date(2026, 4, 23), "2026-04-23T22:00:00+00:00"),
    ],
)
def test_a_day_ends_at_the_next_local_midnight(zone: str, day: date, end: str) -> None:
    plans = Plans(timezone=zone, plans=[FREE])
    assert plans.end_of(day).astimezone(UTC).isoformat() == end


def test_the_day_is_counted_in_the_plans_zone() -> None:
    plans = Plans(timezone="Asia/Shanghai", plans=[FREE])
    assert plans.day_of(datetime(2026, 11, 21, 15, 59, 59, tzinfo=UTC)) == date(2026, 11, 21)
    assert plans.day_of(datetime(2026, 11, 21, 16, 0, tzinfo=UTC)) == date(2026, 11, 22)


def test_the_shipped_configuration_holds_together() -> None:
    configuration = load_configuration(CONFIGS)
    plan = configuration.plans.default
    for card in configuration.catalog.models:
        cheapest = configuration.prices.points_per_second(card.id) * min(card.seconds)
        assert cheapest <= plan.daily_points, f"{plan.id} affords no job of {card.id}"


def test_a_model_without_a_price_is_not_served(tmp_path: Path) -> None:
    path = tmp_path / "pricing.yaml"
    path.write_text("prices: []\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="no price for model reel-tiny"):
        load_prices(path, load_catalog(CONFIGS / "models.yaml"))


def test_a_zone_that_is_none_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "plans.yaml"
    text = (CONFIGS / "plans.yaml").read_text(encoding="utf-8")
    path.write_text(text.replace("Asia/Shanghai", "Asia/Nowhere"), encoding="utf-8")
    line = text.splitlines().index("timezone: Asia/Shanghai") + 1
    with pytest.raises(ConfigError, match=rf"plans\.yaml:{line}: timezone: .*Asia/Nowhere"):
        load_plans(path)
