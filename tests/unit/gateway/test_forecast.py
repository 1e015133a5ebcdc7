"""The rule run forward: who is done when, and how sure that is."""

from collections import deque

import pytest

from gateway.domain.durations import UNMEASURED_S, Duration, DurationKey, guess, learn, p90
from gateway.domain.forecast import Device, Eta, Running, Simulation
from gateway.domain.scheduling import Lane, Pool, Ticket, Tier, wake
from models.spec import BatchKey

SWAP_S = 5.0


def key(model: str = "m", steps: int = 10, mode: str = "standard") -> BatchKey:
    """A batch key."""
    return ("text_to_video", model, "64x64", 17, steps, 3.0, 8, mode)


def forecast(
    accounts: dict[str, list[str]],
    devices: list[Device],
    running: list[Running] | None = None,
    *,
    rooms: dict[str, int] | None = None,
    deviation_s: float = 0.0,
) -> dict[str, Eta]:
    """Jobs of ten seconds each, by account and model; `a0` is the first job of `a`."""
    pool = Pool({"free": Tier("free", 1)})
    lanes = {}
    models = {"m", *(model for jobs in accounts.values() for model in jobs)}
    for account, jobs in accounts.items():
        line = deque(Ticket(f"{account}{i}", key(model), 10) for i, model in enumerate(jobs))
        lane = Lane(account, (rooms or {}).get(account, 99), line)
        lanes[account] = (pool.tiers["free"], lane)
        if lane.is_waiting:
            wake(pool, *lanes[account])
    expected = {DurationKey.of(key(model)): Duration(10, deviation_s, 9) for model in models}
    simulation = Simulation(
        pool, lanes, devices, expected=expected, swap_s=SWAP_S, batch_room=lambda _: 4
    )
    return simulation.run(running or [])


def runs(job_id: str, account: str, elapsed_s: float, device: int | None = 0) -> Running:
    """A job of ten seconds that was claimed a while ago."""
    return Running(job_id, account, device, Duration(10, 0, 9), elapsed_s, 1)


def test_one_worker_does_one_after_the_other() -> None:
    found = forecast({"a": ["m", "m"], "b": ["m"]}, [Device("m")])
    assert found == {"a0": Eta(1, 10, 10), "b0": Eta(2, 20, 20), "a1": Eta(3, 30, 30)}


def test_workers_share_and_a_new_model_takes_time() -> None:
    found = forecast({"a": ["m"], "b": ["n"], "c": ["m"]}, [Device("m"), Device("n")])
    assert found["a0"].p50_s == found["b0"].p50_s == 10
    assert found["c0"].p50_s == 20
    assert forecast({"a": ["m"]}, [Device(None)])["a0"].p50_s == 10 + SWAP_S


def test_a_batch_ends_together() -> None:
    found = forecast({"a": ["m", "m"], "b": ["m"]}, [Device("m", room=3)])
    assert [eta.p50_s for eta in found.values()] == [30, 30, 30]
    assert sorted(eta.position or 0 for eta in found.values()) == [1, 2, 3]


def test_what_runs_is_waited_for() -> None:
    found = forecast({"a": ["m"]}, [Device("m")], [runs("r", "x", 4)])
    assert found == {"r": Eta(None, 6, 6), "a0": Eta(1, 16, 16)}
    assert forecast({}, [Device("m")], [runs("r", "x", 99)])["r"].p50_s == 1


def test_an_account_at_its_cap_waits_for_its_own() -> None:
    rooms = {"a": 0}
    found = forecast(
        {"a": ["m"], "b": ["m", "m"]}, [Device("m")], [runs("r", "a", 0, None)], rooms=rooms
    )
    assert [found[job].position for job in ("b0", "a0", "b1")] == [1, 2, 3]
    assert "a0" not in forecast({"a": ["m"]}, [Device("m")], rooms=rooms)


def test_without_a_worker_there_is_an_order_and_no_time() -> None:
    assert forecast({"a": ["m", "m"]}, []) == {"a0": Eta(1, None, None), "a1": Eta(2, None, None)}


def test_the_further_away_the_less_sure() -> None:
    found = forecast({"a": ["m"] * 9}, [Device("m")], deviation_s=2)
    spreads = [(eta.p90_s or 0) - (eta.p50_s or 0) for eta in found.values()]
    assert spreads == sorted(spreads)
    assert spreads[0] == pytest.approx(1.2816 * 2 * 1.2533, rel=1e-3)
    assert spreads[8] == pytest.approx(3 * spreads[0])


def test_averages_follow_what_is_measured() -> None:
    known = None
    for seconds in (10.0, 20.0, 30.0):
        known = learn(known, seconds)
    assert known is not None
    assert known.mean_s == pytest.approx(20)
    assert known.num_measured == 3
    for _ in range(60):
        known = learn(known, 5.0)
    assert known.mean_s == pytest.approx(5, abs=0.1)
    assert known.deviation_s == pytest.approx(0, abs=0.1)
    assert p90(5, 0) == 5


def test_an_unmeasured_job_is_scaled_from_its_model() -> None:
    measured = [
        (DurationKey.of(key("m", steps=10)), Duration(10, 0, 9)),
        (DurationKey.of(key("other", steps=10)), Duration(500, 0, 9)),
    ]
    assert guess(DurationKey.of(key("m", steps=30)), measured).mean_s == pytest.approx(30)
    assert guess(DurationKey.of(key("new")), measured) == Duration(UNMEASURED_S, UNMEASURED_S, 0)


def test_a_guess_keeps_to_its_mode_where_that_was_measured() -> None:
    measured = [
        (DurationKey.of(key(mode="fast", steps=4)), Duration(4, 0, 9)),
        (DurationKey.of(key(mode="quality", steps=40)), Duration(400, 0, 9)),
    ]
    assert guess(DurationKey.of(key(mode="fast", steps=8)), measured).mean_s == pytest.approx(8)
    of_all = guess(DurationKey.of(key(mode="balanced", steps=44)), measured)
    assert of_all.mean_s == pytest.approx(404)


def test_guidance_counts_by_whether_there_is_any() -> None:
    kind, model, size, num_frames, steps, _, *rest = key()
    strong, weak, off = (
        DurationKey.of((kind, model, size, num_frames, steps, scale, *rest))  # type: ignore[arg-type]
        for scale in (7.5, 1.5, 1.0)
    )
    assert strong == weak != off
