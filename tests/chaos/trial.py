"""One run from an empty folder to a verdict: set up, rage, heal, wait, check."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gateway.accounts.service import create_key, ensure_account
from gateway.domain.plans import Plans, load_plans
from gateway.domain.points import LotKind
from gateway.local.probe import LOOPBACK, get_status
from gateway.points.ledger import Grant, create_lot
from gateway.points.service import refresh
from gateway.points.subscriptions import change_plan
from tests.chaos.checks import check_database, count_moves, count_open_jobs
from tests.chaos.clients import Account, Customer
from tests.chaos.diary import Breach, Diary
from tests.chaos.faults import HOSTS, plan_faults
from tests.chaos.ghost import Ghost
from tests.chaos.leftovers import check_redis, check_spools, check_store, check_videos
from tests.chaos.nemesis import Nemesis
from tests.chaos.situations import find_situations
from tests.chaos.system import System, running_system

PLAN_IDS = ("free", "free", "standard", "pro")
UP_WITHIN_S = 90.0
# A worker that had many setbacks in a row pauses for a minute.
QUIET_S = 120.0
DYING_LOT_POINTS = 200
DYING_LOT_EVERY_S = 12.0


@dataclass
class Verdict:
    """What a run came to."""

    faults: Counter[str] = field(default_factory=Counter)
    situations: Counter[str] = field(default_factory=Counter)
    breaches: list[Breach] = field(default_factory=list)
    num_jobs: int = 0
    num_dropped_files: int = 0
    healed_after_s: float = 0.0


def try_it(
    folder: Path, *, seconds: float, seed: int, database: str, say: Callable[[str], None]
) -> Verdict:
    """Run `seconds` of chaos in `folder`, then judge; from the main thread only."""
    with running_system(folder, database) as system:
        plans = load_plans(folder / "configs" / "plans.yaml")
        accounts = [
            _open_account(system, f"customer-{number}", plans, plan_id, lives_s=seconds)
            for number, plan_id in enumerate(PLAN_IDS)
        ]
        nemesis, diary = Nemesis(system, say), Diary()
        _until(nemesis, lambda: _is_ready(system), UP_WITHIN_S, "the gateway is not ready")
        with _crowd(system, accounts, diary, seed, nemesis):
            nemesis.rage(plan_faults(seed, seconds, database), seconds)
            nemesis.heal()
            say("healed; waiting for the last job")
            healed_at = time.monotonic()
        verdict = Verdict(faults=nemesis.done)
        _wait_for_the_end(system, nemesis)
        verdict.healed_after_s = time.monotonic() - healed_at
        _judge(system, accounts, diary, verdict)
        return verdict


def _open_account(
    system: System, name: str, plans: Plans, plan_id: str, *, lives_s: float
) -> Account:
    """A customer with points without end, some of which end in the middle of the run."""
    now = datetime.now(UTC)
    with system.database.write() as connection:
        account_id = ensure_account(connection, name, plan_id=plans.default.id, now=now)
        refresh(connection, account_id, plans=plans, now=now)
        if plan_id != plans.default.id:
            change_plan(connection, account_id, plans.get(plan_id), plans=plans, now=now)
        for number in range(1, 1 + int(lives_s / DYING_LOT_EVERY_S)):
            grant = Grant(
                kind=LotKind.BONUS,
                key=f"dying:{name}:{number}",
                points=DYING_LOT_POINTS,
                # Drawn before everything else, the next to expire first.
                priority=0,
                expires_at=now + timedelta(seconds=number * DYING_LOT_EVERY_S),
            )
            create_lot(connection, account_id, grant, now=now)
        return Account(account_id, create_key(connection, account_id, now=now))


@contextmanager
def _crowd(
    system: System, accounts: list[Account], diary: Diary, seed: int, nemesis: Nemesis
) -> Iterator[None]:
    """Customers and a ghost while the block runs; then each gets the answer it waits for."""
    is_over, is_hopeless = threading.Event(), threading.Event()
    customers = [
        Customer(
            account,
            system.base_url,
            diary,
            seed=f"{seed} {number}",
            is_over=is_over,
            is_hopeless=is_hopeless,
        )
        for number, account in enumerate(accounts)
    ]
    token = system.environment["REELGATE_WORKER_TOKEN"]
    ghost = Ghost(system.base_url, token, system.database, diary, seed=seed, is_over=is_over)
    actors = [*(each.run for each in customers), ghost.run]
    crowd = [threading.Thread(target=actor, daemon=True) for actor in actors]
    for each in crowd:
        each.start()
    try:
        yield
        is_over.set()
        _until(nemesis, lambda: not any(each.is_alive() for each in crowd), QUIET_S, None)
    finally:
        is_over.set()
        is_hopeless.set()
        for each in crowd:
            each.join()


def _wait_for_the_end(system: System, nemesis: Nemesis) -> None:
    """Wait for as long as something happens and a job is open, a process down or a spool full."""
    moves, moved_at = -1, time.monotonic()
    while time.monotonic() < moved_at + QUIET_S:
        nemesis.step()
        with system.database.read() as connection:
            num_open, now_moves = count_open_jobs(connection), count_moves(connection)
        is_empty = nemesis.is_up() and not any(check_spools(system))
        if num_open == 0 and is_empty and _is_ready(system):
            return
        if now_moves != moves:
            moves, moved_at = now_moves, time.monotonic()


def _judge(system: System, accounts: list[Account], diary: Diary, verdict: Verdict) -> None:
    """Look at everything; at the files last, when nobody writes them any more."""
    breaches = verdict.breaches
    breaches += check_redis(system.redis_url)
    breaches += check_spools(system)
    keys = {account.id: account.key for account in accounts}
    with system.database.read() as connection:
        breaches += check_videos(connection, system.base_url, keys, system.folder)
    for name in (*HOSTS, "gateway"):
        system.processes[name].stop()
    with system.database.read() as connection:
        breaches += check_database(connection, diary)
        verdict.situations = find_situations(connection, diary, system.logs_dir)
    verdict.num_dropped_files, in_store = check_store(system)
    breaches += in_store
    breaches += diary.breaches
    verdict.num_jobs = len(diary.acked)


def _is_ready(system: System) -> bool:
    try:
        status, _body = get_status(LOOPBACK, system.wires["http"].port, "/readyz")
    except OSError:
        return False
    return status == 200


def _until(
    nemesis: Nemesis, is_so: Callable[[], bool], patience_s: float, complaint: str | None
) -> None:
    """Keep the system running until `is_so`; raise TimeoutError with `complaint`, if any."""
    deadline = time.monotonic() + patience_s
    while not is_so():
        nemesis.step()
        if time.monotonic() > deadline:
            if complaint is None:
                return
            raise TimeoutError(f"{complaint} after {patience_s:.0f} s")
