"""Is the process alive, can it serve, what has it counted."""

from collections.abc import Callable

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import generate_latest
from prometheus_client.core import GaugeMetricFamily
from sqlalchemy import text

from gateway.api.deps import ServicesDep
from gateway.db.migrate import is_at_head
from gateway.jobs.repository import count_jobs
from gateway.services import Services

router = APIRouter(tags=["health"])


@router.get("/livez")
def livez() -> dict[str, str]:
    """The process answers. Touches nothing else."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz(services: ServicesDep) -> JSONResponse:
    """Each part by name. Without database or files the answer is 503.

    Redis is named too, but a gateway without it still takes jobs, and delivers them later.
    """
    vital = {
        "database": _problem_of(lambda: _check_database(services)),
        "storage": _problem_of(services.store.check),
    }
    checks = {**vital, "redis": _problem_of(services.queue.check)}
    is_ready = not any(vital.values())
    body = {
        "status": "ok" if is_ready else "unavailable",
        "checks": {name: problem or "ok" for name, problem in checks.items()},
    }
    return JSONResponse(body, 200 if is_ready else 503)


@router.get("/metrics")
def metrics(services: ServicesDep) -> Response:
    """Prometheus text: counters of this process, and the queue as the database has it."""
    jobs = GaugeMetricFamily(
        "reelgate_jobs_open", "Jobs that wait or run.", labels=["pool", "state"]
    )
    with services.database.read() as connection:
        for (pool, state), number in count_jobs(
            connection, services.configuration.catalog.pools
        ).items():
            jobs.add_metric([pool, state], number)
    lines = generate_latest(services.metrics.registry) + generate_latest(_Once(jobs))
    return Response(lines, media_type="text/plain; version=0.0.4; charset=utf-8")


class _Once:
    """A registry of one metric, made for this answer."""

    def __init__(self, metric: GaugeMetricFamily) -> None:
        self._metric = metric

    def collect(self) -> list[GaugeMetricFamily]:
        return [self._metric]


def _check_database(services: Services) -> None:
    with services.database.read() as connection:
        connection.execute(text("SELECT 1"))
    if not is_at_head(services.database):
        raise RuntimeError("migrations are missing: run `reelgate migrate`")


def _problem_of(check: Callable[[], None]) -> str | None:
    """What is wrong with a part, in a word; None if nothing is."""
    try:
        check()
    except Exception as error:  # noqa: BLE001 -- whatever it is, it is what the answer says
        return str(error) if isinstance(error, RuntimeError) else type(error).__name__
    return None
