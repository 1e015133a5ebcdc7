"""The parts of one gateway process, built once by an entry point and handed down."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from gateway.clock import Clock, SystemClock
from gateway.db.session import Database
from gateway.domain.plans import Plans, load_plans
from gateway.domain.pricing import PriceList, load_prices
from gateway.jobs.eta import Forecasts
from gateway.live import LiveHub
from gateway.queue import DeliveryQueue
from gateway.settings import Settings
from gateway.storage.base import ObjectStore
from gateway.storage.open import open_store
from gateway.telemetry import Metrics
from models.catalog import Catalog, load_catalog


@dataclass(frozen=True)
class Configuration:
    """What operators write in YAML, apart from the process's own settings."""

    catalog: Catalog
    plans: Plans
    prices: PriceList


@dataclass(frozen=True)
class Services:
    """Everything a route or a sweep needs."""

    settings: Settings
    clock: Clock
    database: Database
    store: ObjectStore
    queue: DeliveryQueue
    live: LiveHub
    forecasts: Forecasts
    configuration: Configuration
    metrics: Metrics


def load_configuration(config_dir: Path) -> Configuration:
    """Read models, plans and prices.

    Raises:
        ConfigError: with file, line and key of every mistake.
    """
    catalog = load_catalog(config_dir / "models.yaml")
    return Configuration(
        catalog=catalog,
        plans=load_plans(config_dir / "plans.yaml"),
        prices=load_prices(config_dir / "pricing.yaml", catalog),
    )


def build_services(settings: Settings, clock: Clock | None = None) -> Services:
    """Open everything `settings` names. Connections are made when first used.

    Raises:
        ConfigError: as `load_configuration` and `open_store`.
    """
    clock = clock or SystemClock()
    configuration = load_configuration(settings.config_dir)
    return Services(
        settings=settings,
        clock=clock,
        database=Database(settings.database_url),
        store=open_store(settings, clock),
        queue=DeliveryQueue(settings.redis_url),
        live=LiveHub(settings.redis_url),
        forecasts=Forecasts(
            clock,
            plans=configuration.plans,
            catalog=configuration.catalog,
            swap_s=settings.model_swap_s,
            alive_for=timedelta(seconds=settings.lease_s),
        ),
        configuration=configuration,
        metrics=Metrics(),
    )


def close_services(services: Services) -> None:
    """Close every connection."""
    services.queue.close()
    services.database.close()
