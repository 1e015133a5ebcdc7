"""What clients are told about waiting."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import event, select

from gateway.db.tables import account, duration, worker
from gateway.domain.durations import UNMEASURED_S
from gateway.domain.forecast import Eta
from gateway.domain.jobs import JobState
from gateway.housekeeping import clean, refresh_forecasts
from gateway.jobs.eta import KEEP_FOR, SHORT_QUEUE
from gateway.jobs.lane_repair import rebuild_lanes
from gateway.jobs.repository import Job
from gateway.jobs.snapshot import take_snapshot
from gateway.jobs.workers import set_draining
from gateway.services import Services
from models.spec import Kind
from tests.support.accounts import set_plan
from tests.support.api import Client, PaperWorker
from tests.support.clock import ManualClock
from tests.support.waiting import POOL, Want, add_accounts, add_jobs, spec_of


@pytest.fixture
def worker_rows(services: Services) -> Callable[[], int]:
    """How many workers are known."""

    def rows() -> int:
        with services.database.read() as connection:
            return len(connection.execute(select(worker.c.name)).all())

    return rows


def job_of(job_id: str, account_id: str, clock: ManualClock) -> Job:
    """A waiting job as the repository gives it, without what nobody here looks at."""
    spec = spec_of(Want(account_id))
    empty = dict.fromkeys(Job.__dataclass_fields__)
    return Job(
        **{  # type: ignore[arg-type]  # the rest is not looked at
            **empty,
            "id": job_id,
            "account_id": account_id,
            "state": JobState.QUEUED,
            "pool": POOL,
            "kind": Kind.TEXT_TO_VIDEO,
            "spec": spec,
            "created_at": clock.now(),
        }
    )


def account_of(services: Services, name: str) -> str:
    """The account's id."""
    with services.database.read() as connection:
        query = select(account.c.id).where(account.c.name == name)
        return str(connection.execute(query).scalar_one())


def test_nobody_promises_a_time_without_a_worker(client: Client) -> None:
    video = client.submit().json()
    assert (video["queue_position"], video["eta_seconds"]) == (1, None)


def test_the_eta_is_learnt_from_what_renders_take(
    client: Client, worker: PaperWorker, clock: ManualClock, services: Services
) -> None:
    assert worker.claim() == []
    first = client.submit().json()
    swap_s = services.settings.model_swap_s
    assert first["eta_seconds"]["p50"] == UNMEASURED_S + swap_s
    assert first["eta_seconds"]["p90"] > first["eta_seconds"]["p50"]

    [assignment] = worker.claim()
    clock.advance(seconds=10)
    running = client.video(first["id"])
    assert running["queue_position"] is None
    assert running["eta_seconds"]["p50"] == UNMEASURED_S - 10

    worker.finish(assignment)
    assert client.video(first["id"])["eta_seconds"] is None
    with services.database.read() as connection:
        learnt = connection.execute(select(duration)).one()
    assert (learnt.mean_s, learnt.num_measured) == (0.5, 1)
    clock.advance(seconds=KEEP_FOR.total_seconds())
    [second, third] = [client.submit(seed=seed).json() for seed in range(2)]
    assert second["eta_seconds"]["p50"] == third["eta_seconds"]["p50"] == 1


def test_a_worker_that_went_silent_promises_nothing(
    client: Client, worker: PaperWorker, services: Services, clock: ManualClock
) -> None:
    worker.claim()
    video_id = client.submit().json()["id"]
    clock.advance(seconds=services.settings.lease_s + 1)
    assert client.video(video_id)["eta_seconds"] is None
    worker.heartbeat()
    clock.advance(seconds=KEEP_FOR.total_seconds())
    assert client.video(video_id)["eta_seconds"] is not None


def test_an_idle_worker_counts_while_it_may_have_jobs(
    client: Client, worker: PaperWorker, clock: ManualClock, services: Services
) -> None:
    def is_promised() -> bool:
        clock.advance(seconds=KEEP_FOR.total_seconds())
        return client.video(video_id)["eta_seconds"] is not None

    worker.claim()
    clock.advance(days=1)
    video_id = client.submit().json()["id"]
    assert not is_promised()
    worker.beat()
    assert is_promised()
    worker.beat(unfit="its model does not load")
    assert not is_promised()
    worker.beat()
    assert is_promised()
    with services.database.write() as connection:
        set_draining(connection, worker.name, is_draining=True)
    assert not is_promised()


def test_workers_that_are_long_gone_are_forgotten(
    worker_rows: Callable[[], int], worker: PaperWorker, services: Services, clock: ManualClock
) -> None:
    worker.claim()
    clock.advance(days=6)
    clean(services)
    assert worker_rows() == 1
    clock.advance(days=2)
    clean(services)
    assert worker_rows() == 0


def test_a_drained_worker_is_not_forgotten_before_that_is_undone(
    worker_rows: Callable[[], int], worker: PaperWorker, services: Services, clock: ManualClock
) -> None:
    worker.claim()
    for is_draining, left in ((True, 1), (False, 0)):
        with services.database.write() as connection:
            set_draining(connection, worker.name, is_draining=is_draining)
        clock.advance(days=100)
        clean(services)
        assert worker_rows() == left


def test_the_position_is_the_fair_one(
    make_client: Callable[[str], Client], services: Services, clock: ManualClock
) -> None:
    flooder = make_client("flooder")
    clock.advance(seconds=1)
    quiet, payer = make_client("quiet"), make_client("payer")
    ids = []
    for seed in range(5):
        clock.advance(seconds=1)
        ids.append(flooder.submit(seed=seed).json()["id"])
    assert [flooder.video(each)["queue_position"] for each in ids] == [1, 2, 3, 4, 5]
    clock.advance(seconds=1)
    assert quiet.submit().json()["queue_position"] == 2
    set_plan(services, account_of(services, "payer"), "top")
    payer.submit()
    clock.advance(seconds=KEEP_FOR.total_seconds())
    listed = {video["id"]: video for video in flooder.get("/videos?order=asc").json()["data"]}
    assert [listed[each]["queue_position"] for each in ids] == [1, 4, 5, 6, 7]


def test_answers_between_two_forecasts_ask_the_database_nothing(
    client: Client, services: Services, clock: ManualClock
) -> None:
    video_id = client.submit().json()["id"]
    job = job_of(video_id, account_of(services, "ada"), clock)
    asked: list[str] = []

    def note(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        asked.append(statement)

    with services.database.read() as connection:
        event.listen(connection, "before_cursor_execute", note)
        assert services.forecasts.find(connection, [job]) == {video_id: Eta(1, None, None)}
        assert asked == []
        clock.advance(seconds=KEEP_FOR.total_seconds())
        services.forecasts.find(connection, [job])
        assert asked != []


def test_a_long_queue_is_forecast_by_housekeeping_alone(
    services: Services, clock: ManualClock
) -> None:
    plans = services.configuration.plans
    with services.database.write() as connection:
        owners = {"acc_a": "free", "acc_b": "top", "acc_c": "free"}
        add_accounts(connection, owners, now=clock.now())
        ids = add_jobs(connection, [Want("acc_a")] * (SHORT_QUEUE + 1), now=clock.now())
        rebuild_lanes(connection, plans)
    first, last = (job_of(job_id, "acc_a", clock) for job_id in (ids[0], ids[-1]))

    def position(job: Job) -> int | None:
        with services.database.read() as connection:
            return services.forecasts.find(connection, [job])[job.id].position

    assert (position(first), position(last)) == (1, len(ids))
    clock.advance(seconds=KEEP_FOR.total_seconds())
    with services.database.write() as connection:
        new = {
            name: add_jobs(connection, [Want(name)], now=clock.now())[0]
            for name in ("acc_a", "acc_b", "acc_c")
        }
        rebuild_lanes(connection, plans)
    newcomers = {name: job_of(job_id, name, clock) for name, job_id in new.items()}
    # Until the next forecast: behind the last of its account, or with the first of its tier.
    assert position(newcomers["acc_a"]) == len(ids)
    assert position(newcomers["acc_c"]) == 1
    with services.database.read() as connection:
        assert services.forecasts.find(connection, [newcomers["acc_b"]]) == {}

    assert refresh_forecasts(services) == 1
    assert position(newcomers["acc_b"]) == 2
    assert position(newcomers["acc_a"]) == len(ids) + 3
    clock.advance(minutes=2)
    assert refresh_forecasts(services) == 0


def test_a_snapshot_takes_some_of_every_lane(services: Services, clock: ManualClock) -> None:
    plans = services.configuration.plans
    with services.database.write() as connection:
        names = [f"acc_{number}" for number in range(5)]
        add_accounts(connection, dict.fromkeys(names, "free"), now=clock.now())
        wants = [Want("acc_0")] * 300 + [Want(name) for name in names[1:]]
        add_jobs(connection, wants, now=clock.now())
        rebuild_lanes(connection, plans)
    with services.database.read() as connection:
        snapshot = take_snapshot(connection, POOL, [], plans=plans, now=clock.now(), max_jobs=100)
    counts = {name: len(lane.tickets) for name, (_, lane) in snapshot.lanes.items()}
    assert all(counts[name] == 1 for name in names[1:])
    assert 50 <= counts["acc_0"] <= 160
    assert snapshot.num_waiting == sum(counts.values())


def test_a_finished_job_is_told_nothing(services: Services, clock: ManualClock) -> None:
    done = replace(job_of("video_x", "acc_x", clock), state=JobState.SUCCEEDED)
    with services.database.read() as connection:
        assert services.forecasts.find(connection, [done]) == {}
