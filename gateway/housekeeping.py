"""What a gateway does on its own: ring lost deliveries, take jobs from lost workers, drop files.

Every sweep is a compare-and-set or safe to repeat, so any number of gateways may run them side by
side, and a kill in the middle of one leaves work for the next.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

import structlog
from sqlalchemy import delete, exists, select
from sqlalchemy.exc import OperationalError

from gateway.db.tables import artifact, job
from gateway.domain.jobs import JobState
from gateway.jobs.claim import list_expired_leases
from gateway.jobs.eta import KEEP_FOR
from gateway.jobs.files import ROOT, job_folder
from gateway.jobs.idempotency import forget_expired
from gateway.jobs.lane_repair import list_strays, repair_lanes
from gateway.jobs.lifecycle import reap
from gateway.jobs.repository import list_artifacts
from gateway.jobs.waiting import list_runnable
from gateway.jobs.workers import forget_silent_workers
from gateway.services import Services
from gateway.settings import Settings
from gateway.streams import Change

CLEAN_EVERY_S = 60.0
REPAIR_EVERY_S = 15.0
RUNG_AT_ONCE = 100
_BATCH = 500
# A folder without a job may belong to a submit that has not committed yet.
_ORPHAN_AGE = timedelta(hours=1)

log = structlog.get_logger()


def ring_lost_deliveries(services: Services) -> int:
    """Make sure that a delivery waits for each job that may run now; how many were rung.

    Any delivery makes a worker ask, so up to `RUNG_AT_ONCE` in a pool are enough, and jobs that
    wait for another of their account to end need none. However many jobs wait, no more than that
    is read.
    """
    rung = 0
    for pool in sorted(services.configuration.catalog.pools):
        num_present = services.queue.num_deliveries(pool)
        if num_present is None or num_present >= RUNG_AT_ONCE:
            continue
        with services.database.read() as connection:
            plans = services.configuration.plans
            refs = list_runnable(connection, pool, plans=plans, limit=RUNG_AT_ONCE)
        if num_present < len(refs):
            rung += services.queue.ring_missing(pool, refs)
    return rung


def reap_lost_jobs(services: Services) -> int:
    """Requeue or fail the jobs of workers that went silent; how many were moved."""
    now = services.clock.now()
    with services.database.read() as connection:
        expired = list_expired_leases(connection, now=now, limit=_BATCH)
    num_moved = 0
    for job_id in expired:
        with services.database.write() as connection:
            moved = reap(
                connection,
                job_id,
                max_attempts=services.settings.max_attempts,
                plans=services.configuration.plans,
                now=now,
            )
        if moved is None:
            continue
        num_moved += 1
        change = Change.TERMINAL if moved.state.is_terminal else Change.REQUEUED
        services.queue.announce(change, {job_id: moved.account_id})
        # Its worker may be about to finish after all: files of a job that waits stay.
        if moved.state is JobState.FAILED:
            services.store.delete_prefix(job_folder(job_id))
            services.metrics.jobs_finished.labels(moved.model, moved.state).inc()
        log.warning("job_reaped", job_id=job_id, attempt=moved.attempt, state=moved.state)
    return num_moved


def clean(services: Services) -> None:
    """Drop what is kept no longer: expired videos, files without a job, old request keys."""
    now = services.clock.now()
    with services.database.write() as connection:
        forget_expired(connection, now=now)
        forget_silent_workers(connection, now=now)
    _expire_videos(services, now)
    _drop_orphans(services, now)


def refresh_forecasts(services: Services) -> int:
    """Forecast the long queues anew, so that nobody who asks waits for it; how many those were."""
    pools = services.forecasts.pools_to_refresh()
    for pool in pools:
        with services.database.read() as connection:
            services.forecasts.refresh(connection, pool)
    return len(pools)


def repair_stray_lanes(services: Services) -> int:
    """Put lanes right that no longer say what the jobs do, as after a change of plan; how many."""
    plans = services.configuration.plans
    with services.database.read() as connection:
        strays = list_strays(connection, plans)[:_BATCH]
    for account_id, pool in strays:
        with services.database.write() as connection:
            repair_lanes(connection, account_id, pool, plans=plans)
    return len(strays)


def _expire_videos(services: Services, now: datetime) -> None:
    with services.database.write() as connection:
        expired = list(
            connection.execute(
                select(job.c.id)
                .where(job.c.expires_at <= now, job.c.id.in_(select(artifact.c.job_id)))
                .limit(_BATCH)
            ).scalars()
        )
        connection.execute(delete(artifact).where(artifact.c.job_id.in_(expired)))
    for job_id in expired:
        services.store.delete_prefix(job_folder(job_id))
        log.info("video_expired", job_id=job_id)


def _drop_orphans(services: Services, now: datetime) -> None:
    """Remove the files that no row names: those of a crash, of a lost attempt, of a late upload."""
    folders = services.store.list_folders(ROOT)
    while job_ids := list(islice(folders, _BATCH)):
        with services.database.read() as connection:
            has_files = exists().where(artifact.c.job_id == job.c.id).label("has_files")
            query = select(job.c.id, job.c.state, job.c.attempt, has_files)
            rows = connection.execute(query.where(job.c.id.in_(job_ids))).all()
        known = {row.id: row for row in rows}
        for job_id in job_ids:
            _drop_if_orphan(services, job_id, known.get(job_id), now)


def _drop_if_orphan(services: Services, job_id: str, row: Any, now: datetime) -> None:  # noqa: ANN401 -- of `_drop_orphans`
    is_over = row is not None and JobState(row.state).is_terminal
    if row is None:
        is_orphan = services.store.age_of(job_folder(job_id), now) > _ORPHAN_AGE
    else:
        is_orphan = is_over and not row.has_files
    if is_orphan:
        services.store.delete_prefix(job_folder(job_id))
        log.info("orphan_files_dropped", job_id=job_id)
    elif is_over and row.attempt > 1:
        _drop_lost_attempts(services, job_id)


def _drop_lost_attempts(services: Services, job_id: str) -> None:
    """Of a job that has ended, remove the folders of attempts that did not make it."""
    with services.database.read() as connection:
        files = list_artifacts(connection, job_id)
    kept = {file.key.removeprefix(f"{job_folder(job_id)}/").split("/")[0] for file in files}
    for name in services.store.list_folders(job_folder(job_id)):
        if name not in kept:
            services.store.delete_prefix(f"{job_folder(job_id)}/{name}")
            log.info("orphan_files_dropped", job_id=job_id, folder=name)


@dataclass(frozen=True)
class Sweep:
    """A duty, first done `first_s` seconds after a gateway starts, then every `every_s`."""

    first_s: float
    every_s: float
    run: Callable[[Services], object]


def list_sweeps(settings: Settings) -> list[Sweep]:
    """Everything a gateway does on its own.

    Leases are not judged for the first `lease_s` seconds: while no gateway was there nobody could
    renew them, and a render that finished meanwhile must get its chance to be reported.
    """
    return [
        Sweep(0.0, settings.deliver_every_s, ring_lost_deliveries),
        Sweep(settings.lease_s, settings.reap_every_s, reap_lost_jobs),
        Sweep(0.0, KEEP_FOR.total_seconds(), refresh_forecasts),
        Sweep(REPAIR_EVERY_S, REPAIR_EVERY_S, repair_stray_lanes),
        Sweep(CLEAN_EVERY_S, CLEAN_EVERY_S, clean),
    ]


class Housekeeper:
    """Runs the sweeps in a thread of its own until it is stopped."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)

    def start(self) -> None:
        """Begin; see `list_sweeps`."""
        self._thread.start()

    def stop(self) -> None:
        """End after the sweep that is running."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        sweeps = list_sweeps(self._services.settings)
        tick = min(1.0, *(each.every_s for each in sweeps)) / 2
        elapsed = 0.0
        due = [each.first_s for each in sweeps]
        while not self._stop.wait(tick):
            elapsed += tick
            answered = []
            for number, each in enumerate(sweeps):
                if elapsed >= due[number]:
                    due[number] = elapsed + each.every_s
                    answered.append(self._sweep(each.run))
            if answered and not any(answered):
                # Nobody can renew a lease meanwhile, so leases are judged as after a start.
                first = [elapsed + each.first_s for each in sweeps]
                due = [max(times) for times in zip(due, first, strict=True)]

    def _sweep(self, sweep: Callable[[Services], object]) -> bool:
        """Whether the database answered."""
        try:
            sweep(self._services)
        except Exception as error:
            # A database or a store that is away comes back; the thread must be there when it does.
            log.exception("sweep_failed", sweep=getattr(sweep, "__name__", "?"))
            return not isinstance(error, OperationalError)
        return True
