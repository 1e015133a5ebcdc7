"""The HTTP application, put together from its parts. Nothing happens at import."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog
from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool

from gateway.api import files, health
from gateway.api.admin import accounts as admin_accounts
from gateway.api.admin import records as admin_records
from gateway.api.admin import workers as admin_workers
from gateway.api.errors import ErrorEnvelope, install_error_handlers
from gateway.api.middleware import BodyLimitEnvelope, RequestContext
from gateway.api.v1 import content, create, events, models, points, videos
from gateway.api.worker import routes as worker
from gateway.api.worker.uploads import uploads_router
from gateway.housekeeping import Housekeeper
from gateway.jobs.lane_repair import rebuild_lanes
from gateway.services import Services, close_services

log = structlog.get_logger()

_REFUSALS = (400, 401, 402, 403, 404, 409, 413, 422, 429, 503)


def create_app(services: Services) -> FastAPI:
    """The gateway over `services`, which it closes when it shuts down."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(rebuild_all_lanes, services)
        housekeeper = Housekeeper(services)
        housekeeper.start()
        yield
        await run_in_threadpool(housekeeper.stop)
        close_services(services)

    limits = services.settings.limits
    app = FastAPI(
        title="Reelgate",
        version="0.1.0",
        lifespan=lifespan,
        # The pages these would serve load scripts from other hosts; /openapi.json is enough.
        docs_url=None,
        redoc_url=None,
    )
    app.state.services = services
    # The last one added is the outermost.
    app.add_middleware(BodyLimitEnvelope)
    app.add_middleware(RequestContext, metrics=services.metrics)
    install_error_handlers(app)
    refusals: dict[int | str, dict[str, Any]] = {
        status: {"model": ErrorEnvelope} for status in _REFUSALS
    }
    for public in (
        create.router,
        videos.router,
        content.router,
        models.router,
        points.router,
        events.router,
        admin_accounts.router,
        admin_records.router,
        admin_workers.router,
    ):
        app.include_router(public, responses=refusals, max_body_size=limits.max_body_bytes)
    app.include_router(worker.router, max_body_size=limits.max_body_bytes)
    app.include_router(uploads_router(limits))
    app.include_router(files.router)
    app.include_router(health.router)
    return app


def rebuild_all_lanes(services: Services) -> None:
    """Let the fair queue say what the jobs say, whatever happened while no gateway ran."""
    with services.database.write() as connection:
        num_wrong = rebuild_lanes(connection, services.configuration.plans)
    if num_wrong:
        log.info("lanes_rebuilt", num_wrong=num_wrong)
