"""Any order of moves, by clients, workers, clocks and sweeps, against the ledger on paper.

After every step the audit must find nothing, and every lot must hold what the paper says. The
machine sends each move to the real services, refusals included, and predicts their answer.
"""

import copy
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import event
from typing_extensions import override

from gateway.db.session import Database
from gateway.domain.errors import (
    AlreadyDone,
    IdempotencyMismatch,
    InsufficientPoints,
    InvalidRequest,
    NotFound,
    StaleAttempt,
    TooManyJobs,
)
from gateway.domain.jobs import JobState
from gateway.domain.points import LotKind
from gateway.jobs.idempotency import KEY_TTL
from gateway.points.statement import list_lines
from gateway.protocol import AttemptRef
from tests.support.clock import ManualClock
from tests.support.ledger import LEASE_S, MAX_ATTEMPTS, Teller, empty, plans_for_tests
from tests.support.paper_ledger import FOREVER, PaperLedger, first_instant

# Fewer when a mutant is hunted: what it breaks shows early.
FULL_RUN = 60
NUM_EXAMPLES = int(os.environ.get("REELGATE_LEDGER_EXAMPLES", FULL_RUN))
NUM_STEPS = 40
MAX_RUNNING = 2
MAX_QUEUED = 4
NAMES = ("ada", "bob")
CODE, CODE_POINTS, CODE_USES = "WELCOME", 25, 1
PACK_POINTS, PACK_DAYS = 100, 30
BONUS_DAYS = 10

# Ordinary noon; a minute to midnight; the end of January; an evening before a day of 23 hours,
# of 25, and one that begins at 01:00.
STARTS = [
    ("Asia/Shanghai", datetime(2026, 11, 21, 4, 0, tzinfo=UTC)),
    ("Asia/Shanghai", datetime(2026, 11, 21, 15, 59, tzinfo=UTC)),
    ("Asia/Shanghai", datetime(2027, 1, 31, 1, 0, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 3, 8, 1, 0, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 11, 1, 1, 0, tzinfo=UTC)),
    ("Africa/Cairo", datetime(2026, 4, 23, 20, 0, tzinfo=UTC)),
]
CLOCK_STEPS = [
    timedelta(seconds=LEASE_S),
    timedelta(hours=7),
    timedelta(days=1),
    timedelta(days=31),
    timedelta(hours=-25),
]
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
# Before a job ends: most often nothing happens, or its lease, its day, its lots run out.
WAITS = st.sampled_from([timedelta(0), timedelta(0), *CLOCK_STEPS])
PRICES = st.sampled_from([0, 1, 10, 35, 60, 61, 150])


@dataclass
class PaperJob:
    """What the machine knows of a job."""

    id: str
    owner: str
    key: str
    key_until: datetime
    state: JobState = JobState.QUEUED
    attempt: int = 0
    lease_until: datetime | None = None
    is_deleted: bool = False


class LedgerMachine(RuleBasedStateMachine):
    """Two accounts, a worker that may be a zombie, a sweep and a clock."""

    jobs = Bundle("jobs")

    database: Database
    reached: Counter[str]

    def __init__(self) -> None:
        super().__init__()
        self.paper: dict[str, PaperLedger] = {}
        self.known: dict[str, PaperJob] = {}
        self.payments: list[str] = []
        self.redeemed: set[str] = set()
        self.num_keys = 0

    @initialize(
        target=jobs,
        start=st.sampled_from(STARTS),
        plans=st.tuples(*[st.sampled_from(["free", "plus", "top"])] * len(NAMES)),
        prices=st.lists(PRICES, min_size=2, max_size=6),
    )
    def open(self, start: tuple[str, datetime], plans: tuple[str, ...], prices: list[int]) -> Any:
        """An empty ledger, two accounts on some plans, and jobs that wait."""
        zone, instant = start
        offer = plans_for_tests(zone, max_running=MAX_RUNNING, max_queued=MAX_QUEUED)
        empty(self.database)
        self.clock = ManualClock(instant)
        self.teller = Teller(self.database, self.clock, offer)
        self.teller.create_code(CODE, points=CODE_POINTS, max_uses=CODE_USES, lives_days=3650)
        # Equal lanes are served by account id, which is random: the first here is always the first.
        self.accounts = sorted(self.teller.open_account(name) for name in NAMES)
        for who, plan in enumerate(plans):
            self.paper[self.accounts[who]] = PaperLedger(offer)
            self.change_plan(who, plan)
        placed = [
            self._submit(self.accounts[number % len(NAMES)], price, self._fresh_key())
            for number, price in enumerate(prices)
        ]
        return multiple(*(job for job in placed if job is not None))

    # Clients

    @rule(target=jobs, who=st.integers(0, 1), price=PRICES)
    def submit(self, who: int, price: int) -> Any:
        """A new request."""
        return self._submit(self.accounts[who], price, self._fresh_key()) or multiple()

    @rule(target=jobs, job=jobs)
    def send_again(self, job: PaperJob) -> Any:
        """A request comes again, under its key; a day later it is a new one."""
        if job.key_until <= self.clock.now():
            return self._submit(job.owner, 10, job.key) or multiple()
        if job.is_deleted:
            with pytest.raises(NotFound):
                self.teller.submit(job.owner, 10, key=job.key)
        else:
            placed = self.teller.submit(job.owner, 10, key=job.key)
            assert (placed.job_id, placed.is_replay) == (job.id, True)
            self.reached["a replay"] += 1
        with pytest.raises(IdempotencyMismatch):
            self.teller.submit(job.owner, 10, key=job.key, prompt="another")
        return multiple()

    @rule(
        job=jobs,
        wait=WAITS,
        stranger=st.sampled_from([False, False, True]),
        forget=st.sampled_from([False, False, True]),
    )
    def take_back(self, job: PaperJob, wait: timedelta, *, stranger: bool, forget: bool) -> None:
        """The owner cancels or deletes; a stranger tries to."""
        self.clock.instant += wait
        move = self.teller.forget if forget else self.teller.cancel
        other = next(each for each in self.accounts if each != job.owner)
        if stranger or job.is_deleted:
            with pytest.raises(NotFound):
                move(other if stranger else job.owner, job.id)
            return
        moved = move(job.owner, job.id)
        assert (moved is None) == job.state.is_terminal
        if moved:
            self._refund(job, JobState.CANCELED, is_our_fault=False)
        job.is_deleted = forget

    # Workers

    @rule()
    def claim(self) -> None:
        """A worker asks for a job."""
        claimed = self.teller.claim()
        for ref in claimed:
            job = self.known[ref.job_id]
            assert job.state is JobState.QUEUED
            assert self._count(job.owner, JobState.RUNNING) < MAX_RUNNING
            job.state, job.attempt = JobState.RUNNING, job.attempt + 1
            job.lease_until = self.clock.now() + timedelta(seconds=LEASE_S)
            assert ref.attempt == job.attempt
        if not claimed:
            for owner in self.accounts:
                has_room = self._count(owner, JobState.RUNNING) < MAX_RUNNING
                assert not (has_room and self._count(owner, JobState.QUEUED))

    @rule(job=jobs, back=st.sampled_from([0, 0, 0, 1, 2]), wait=WAITS)
    def complete(self, job: PaperJob, back: int, wait: timedelta) -> None:
        """A worker reports a video, perhaps for an attempt that was taken from it."""
        self._get_claimed(job)
        self.clock.instant += wait
        number = job.attempt - back
        if number < 1:
            return
        ref = AttemptRef(job_id=job.id, attempt=number)
        is_owner = back == 0 and not job.is_deleted
        if is_owner and job.state is JobState.SUCCEEDED:
            assert self.teller.complete(ref) is None
        elif is_owner and not job.state.is_terminal:
            moved = self.teller.complete(ref)
            assert moved is not None
            self.paper[job.owner].charge(job.id)
            self.reached["a charge"] += 1
            job.state, job.lease_until = JobState.SUCCEEDED, None
        else:
            with pytest.raises(StaleAttempt):
                self.teller.complete(ref)

    @rule(job=jobs, back=st.sampled_from([0, 0, 0, 1, 2]), wait=WAITS, retryable=st.booleans())
    def fail(self, job: PaperJob, back: int, wait: timedelta, *, retryable: bool) -> None:
        """A worker reports a failure, perhaps as above."""
        self._get_claimed(job)
        self.clock.instant += wait
        number = job.attempt - back
        if number < 1:
            return
        ref = AttemptRef(job_id=job.id, attempt=number)
        if back or job.is_deleted or job.state is not JobState.RUNNING:
            with pytest.raises(StaleAttempt):
                self.teller.fail(ref, retryable=retryable)
            return
        moved = self.teller.fail(ref, retryable=retryable)
        self._attempt_ended(job, may_retry=retryable)
        assert moved.state is job.state

    @rule(job=jobs, retryable=st.booleans())
    def zombie(self, job: PaperJob, *, retryable: bool) -> None:
        """A worker is lost, its job runs elsewhere, and it comes back with a video."""
        self._get_claimed(job)
        if not job.attempt:
            return
        lost = AttemptRef(job_id=job.id, attempt=job.attempt)
        self.clock.advance(seconds=LEASE_S)
        self.reap()
        self._get_claimed(job)
        if job.attempt == lost.attempt:
            return
        with pytest.raises(StaleAttempt):
            self.teller.complete(lost)
        with pytest.raises(StaleAttempt):
            self.teller.fail(lost, retryable=retryable)
        self.reached["a zombie"] += 1

    @rule()
    def reap(self) -> None:
        """The sweep takes every job whose lease ran out."""
        now = self.clock.now()
        moved = {each.job_id for each in self.teller.reap_all()}
        late = [job for job in self.known.values() if job.lease_until and job.lease_until <= now]
        assert moved == {job.id for job in late}
        for job in late:
            self._attempt_ended(job, may_retry=True)

    # Points

    @rule(who=st.integers(0, 1))
    def top_up(self, who: int) -> None:
        """A payment arrives."""
        self.payments.append(f"payment-{len(self.payments)}")
        self.teller.topup(self.accounts[who], self.payments[-1])
        paper = self.paper[self.accounts[who]]
        paper.grant_days(LotKind.TOPUP, PACK_POINTS, PACK_DAYS, self.clock.now())

    @rule(who=st.integers(0, 1))
    def pay_twice(self, who: int) -> None:
        """Every payment so far is reported again."""
        for payment in self.payments:
            with pytest.raises(AlreadyDone):
                self.teller.topup(self.accounts[who], payment)

    @rule(who=st.integers(0, 1))
    def redeem(self, who: int) -> None:
        """An account names the code that counts once."""
        account = self.accounts[who]
        if account in self.redeemed or len(self.redeemed) == CODE_USES:
            with pytest.raises((AlreadyDone, InvalidRequest)):
                self.teller.redeem(account, CODE)
            return
        self.teller.redeem(account, CODE)
        self.redeemed.add(account)
        self.paper[account].grant_days(LotKind.BONUS, CODE_POINTS, BONUS_DAYS, self.clock.now())

    @rule(who=st.integers(0, 1), points=st.sampled_from([1, 30, 200]))
    def revoke(self, who: int, points: int) -> None:
        """Points are taken back, or are too few for it."""
        account = self.accounts[who]
        paper = copy.deepcopy(self.paper[account])
        paper.look(self.clock.now())
        if points > paper.available:
            with pytest.raises(InvalidRequest):
                self.teller.revoke(account, points, self._fresh_key())
            return
        self.teller.revoke(account, points, self._fresh_key())
        paper.take(points)
        self.paper[account] = paper

    @rule(who=st.integers(0, 1), plan=st.sampled_from(["free", "plus", "top"]))
    def change_plan(self, who: int, plan: str) -> None:
        """A purchase, an upgrade, a downgrade, or the way back."""
        account = self.accounts[who]
        self.teller.change_plan(account, plan)
        self.paper[account].look(self.clock.now())
        self.paper[account].buy(self.teller.plans.get(plan), self.clock.now())

    @rule(who=st.integers(0, 1))
    def look(self, who: int) -> None:
        """Somebody asks for the balance."""
        self.teller.refresh(self.accounts[who])
        self.paper[self.accounts[who]].look(self.clock.now())

    # The clock

    @rule(step=st.sampled_from(CLOCK_STEPS))
    def pass_time(self, step: timedelta) -> None:
        """Time passes, or the clock steps back."""
        self.clock.instant += step

    @rule(after=st.sampled_from([-1, 0]))
    def midnight(self, after: int) -> None:
        """To the next midnight, or the second before it."""
        paper = self.paper[self.accounts[0]]
        tomorrow = paper.day_of(self.clock.now()) + timedelta(days=1)
        self.clock.instant = first_instant(tomorrow, paper.plans.timezone)
        self.clock.advance(seconds=after)

    # What holds after every step

    @invariant()
    def books_agree(self) -> None:
        """The audit is silent and every lot is as on paper."""
        assert self.teller.breaches() == []
        for account, paper in self.paper.items():
            balance = self.teller.balance(account)
            found = [
                (lot.kind, lot.available, lot.held, lot.expires_at or FOREVER)
                for lot in balance.lots
            ]
            assert found == paper.rows()
            assert balance.available == paper.available
            assert self.teller.spent(account) == paper.spent

    @override
    def teardown(self) -> None:
        """The statement ends with the balance."""
        for account, paper in self.paper.items():
            with self.database.read() as connection:
                lines = list_lines(connection, account, limit=1)
            assert [line.balance_after for line in lines] == [paper.available][: len(lines)]

    def _submit(self, account: str, price: int, key: str) -> PaperJob | None:
        now = self.clock.now()
        paper = copy.deepcopy(self.paper[account])
        paper.look(now)
        if self._count(account, JobState.QUEUED) >= MAX_QUEUED:
            with pytest.raises(TooManyJobs):
                self.teller.submit(account, price, key=key)
            return None
        if price > paper.available:
            with pytest.raises(InsufficientPoints) as caught:
                self.teller.submit(account, price, key=key)
            assert (caught.value.required, caught.value.available) == (price, paper.available)
            return None
        placed = self.teller.submit(account, price, key=key)
        assert not placed.is_replay
        paper.hold(placed.job_id, price)
        self.paper[account] = paper
        for earlier in self.known.values():
            if earlier.key == key:
                earlier.key, earlier.key_until = self._fresh_key(), LONG_AGO
        job = PaperJob(placed.job_id, account, key, key_until=now + KEY_TTL)
        self.known[job.id] = job
        return job

    def _get_claimed(self, job: PaperJob) -> None:
        """Claim until the job runs, or its owner runs as many as it may."""
        while (
            job.state is JobState.QUEUED and self._count(job.owner, JobState.RUNNING) < MAX_RUNNING
        ):
            self.claim()

    def _attempt_ended(self, job: PaperJob, *, may_retry: bool) -> None:
        if may_retry and job.attempt < MAX_ATTEMPTS:
            job.state, job.lease_until = JobState.QUEUED, None
        else:
            self._refund(job, JobState.FAILED, is_our_fault=True)

    def _refund(self, job: PaperJob, state: JobState, *, is_our_fault: bool) -> None:
        job.state, job.lease_until = state, None
        now = self.clock.now()
        if self.paper[job.owner].give_back(job.id, now, is_our_fault=is_our_fault):
            self.reached["grace" if is_our_fault else "points that died held"] += 1

    def _count(self, account: str, state: JobState) -> int:
        return sum(job.owner == account and job.state is state for job in self.known.values())

    def _fresh_key(self) -> str:
        self.num_keys += 1
        return f"key-{self.num_keys}"


@pytest.fixture
def hasty_database(database_url: str) -> Iterator[Database]:
    """A database that does not wait for the disk: this test restarts nothing."""
    database = Database(database_url)

    @event.listens_for(database.engine, "connect")
    def _be_hasty(connection: Any, _record: object) -> None:
        statement = (
            "PRAGMA synchronous=OFF" if database.is_sqlite else "SET synchronous_commit = off"
        )
        cursor = connection.cursor()
        cursor.execute(statement)
        cursor.close()
        connection.commit()

    yield database
    database.close()


@pytest.mark.slow
@pytest.mark.timeout(600)  # a failure takes minutes to become a short story
def test_no_order_of_moves_breaks_the_books(hasty_database: Database) -> None:
    seen: Counter[str] = Counter()

    class Machine(LedgerMachine):
        database = hasty_database
        reached = seen

    is_full = NUM_EXAMPLES >= FULL_RUN
    # A step on PostgreSQL takes three times as long, and the rules are the same.
    num_examples = NUM_EXAMPLES if hasty_database.is_sqlite else NUM_EXAMPLES // 2
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=num_examples,
            stateful_step_count=NUM_STEPS,
            deadline=None,
            print_blob=True,
            phases=[Phase.reuse, Phase.generate, *([Phase.shrink] if is_full else [])],
            suppress_health_check=list(HealthCheck),
        ),
    )
    if num_examples >= FULL_RUN:
        wanted = {"a replay", "a zombie", "a charge", "grace"}
        assert wanted <= seen.keys()
