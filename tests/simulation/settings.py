"""What every seed shares: plans with narrow limits, three models in two pools, prices."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from gateway.domain.plans import Plans
from gateway.domain.pricing import Price, PriceList
from gateway.services import Configuration
from gateway.settings import Settings
from models.catalog import Catalog
from tests.support.ledger import first_card, plans_for_tests

PRICE = 10
LEASE_S, HEARTBEAT_S, SWAP_S = 20.0, 7.0, 4.0
MAX_ATTEMPTS = 3
CAPS = {"free": 1, "plus": 2, "top": 3}
ACCOUNTS = {"flo": "free", "kim": "free", "eve": "plus", "ada": "top"}
# Eleven in the morning in Shanghai; the seeds begin at noon, or shortly before midnight.
OPENED_AT = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
STARTS = (
    datetime(2026, 11, 21, 4, 0, tzinfo=UTC),
    datetime(2026, 11, 21, 15, 59, 30, tzinfo=UTC),
)
MODELS = {"a": ("default", 3), "b": ("default", 2), "c": ("other", 1)}


def make_plans() -> Plans:
    """Plans whose caps a few jobs reach."""
    plans = plans_for_tests(max_queued=5, retention_hours=1)
    capped = [plan.model_copy(update={"max_running": CAPS[plan.id]}) for plan in plans.plans]
    return plans.model_copy(update={"plans": capped})


def make_configuration() -> Configuration:
    """Models, plans and prices."""
    card = first_card()
    cards = [
        card.model_copy(update={"id": name, "pool": pool, "max_batch": room})
        for name, (pool, room) in MODELS.items()
    ]
    prices = [Price(model=name, points_per_second=Decimal(0), flat_points=PRICE) for name in MODELS]
    return Configuration(Catalog(models=cards), make_plans(), PriceList(prices=prices))


def make_settings() -> Settings:
    """A gateway with short leases."""
    return Settings(
        database_url="sqlite://",
        redis_url="redis://nowhere",
        storage_dir=Path("nowhere"),
        secret="a-secret-that-is-long-enough-for-the-tests",
        worker_token="worker-token-of-the-tests",
        lease_s=LEASE_S,
        heartbeat_s=HEARTBEAT_S,
        deliver_every_s=10,
        reap_every_s=10,
        model_swap_s=SWAP_S,
        max_attempts=MAX_ATTEMPTS,
    )
