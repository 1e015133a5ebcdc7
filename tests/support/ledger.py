"""Jobs and points without HTTP: each move of an account or a worker as one call, one transaction.

Prices are whatever a test says. Nothing is caught and nothing is retried.
"""

import itertools
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, select

from gateway.accounts.service import Caller, Scope, ensure_account
from gateway.clock import Clock
from gateway.db.session import Database
from gateway.db.tables import job, lot, metadata
from gateway.domain.plans import Plan, Plans, load_plans
from gateway.domain.points import LotKind
from gateway.domain.pricing import Price, PriceList
from gateway.ids import JOB_PREFIX, lowest_id
from gateway.jobs import lifecycle
from gateway.jobs.claim import claim, list_expired_leases
from gateway.jobs.idempotency import identify
from gateway.jobs.lifecycle import Moved
from gateway.jobs.repository import Job, find_job
from gateway.jobs.request import VideoRequest
from gateway.jobs.submit import Order, Placed, submit
from gateway.points.audit import Breach, audit
from gateway.points.codes import create_code, redeem
from gateway.points.service import Balance, buy_topup, get_balance, grant_bonus, refresh, revoke
from gateway.points.subscriptions import Subscription, change_plan, find_subscription
from gateway.protocol import (
    ArtifactRole,
    AttemptRef,
    CompleteRequest,
    FailRequest,
    FailureCode,
    Rendered,
    UploadedArtifact,
)
from models.card import ModelCard
from models.catalog import load_catalog

ROOT = Path(__file__).parents[2]
LEASE_S = 60.0
MAX_ATTEMPTS = 3
KEEP_FOR = timedelta(days=3)


def plans_for_tests(zone: str = "Asia/Shanghai", **limits: Any) -> Plans:
    """The plans of the tests counted in `zone`, every one of them with these `limits`."""
    plans = load_plans(ROOT / "tests" / "support" / "plans.yaml")
    changed = [plan.model_copy(update=limits) for plan in plans.plans]
    return plans.model_copy(update={"timezone": zone, "plans": changed})


def price_list(points: int) -> PriceList:
    """A list on which every video costs `points`."""
    price = Price(model="reel-tiny", points_per_second=Decimal(0), flat_points=points)
    return PriceList(prices=[price])


def first_card() -> ModelCard:
    """The card of the shipped model."""
    return load_catalog(ROOT / "configs" / "models.yaml").default


def empty(database: Database) -> None:
    """Take every row out of the database."""
    with database.write() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())


def complete_request(number: int) -> CompleteRequest:
    """What a worker says when attempt `number` has its video."""
    rendered = Rendered(
        width=64, height=64, num_frames=17, fps=8, duration_s=17 / 8, label={}, render_s=0.5
    )
    video = UploadedArtifact(
        role=ArtifactRole.VIDEO, content_type="video/mp4", size_bytes=1, sha256="0" * 64
    )
    return CompleteRequest(attempt=number, rendered=rendered, artifacts=[video])


@dataclass
class Teller:
    """The gateway's services over one database, with a clock and plans of the test's.

    Jobs of the same instant are numbered in the order they were sent.
    """

    database: Database
    clock: Clock
    plans: Plans = field(default_factory=plans_for_tests)
    card: ModelCard = field(default_factory=first_card)
    tag: str = field(default_factory=lambda: secrets.token_hex(4))
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def open_account(self, name: str) -> str:
        """The id of the account called `name`, on the free plan."""
        with self.database.write() as connection:
            return ensure_account(
                connection, name, plan_id=self.plans.default.id, now=self.clock.now()
            )

    def submit(
        self, account_id: str, price: int, *, key: str | None = None, prompt: str = "x"
    ) -> Placed:
        """Send a request that costs `price`; without a `key` it is a request of its own."""
        request = VideoRequest(prompt=prompt)
        now = self.clock.now()
        order = Order(
            job_id=f"{lowest_id(JOB_PREFIX, now)}{next(self.numbers):08}{self.tag}",
            card=self.card,
            spec=self.card.example(
                kind=self.card.kinds[0],
                mode=self.card.default_mode,
                size=self.card.sizes[0],
                fps=self.card.fps[0],
                seconds=self.card.seconds[0],
                prompt=prompt,
            ),
            image=None,
            client_metadata={},
            identity=identify(
                request,
                image_sha256=None,
                idempotency_key=key or secrets.token_hex(8),
                num_retries=0,
            ),
        )
        caller = Caller(account_id, "key", is_suspended=False, scope=Scope.CLIENT)
        with self.database.write() as connection:
            return submit(
                connection, caller, order, plans=self.plans, prices=price_list(price), now=now
            )

    def claim(self, *, limit: int = 1, worker: str = "worker") -> list[AttemptRef]:
        """Take up to `limit` jobs."""
        with self.database.write() as connection:
            ids = claim(
                connection,
                self.card.pool,
                worker,
                limit=limit,
                lease_s=LEASE_S,
                plans=self.plans,
                now=self.clock.now(),
            )
            rows = connection.execute(select(job.c.id, job.c.attempt).where(job.c.id.in_(ids)))
            return [AttemptRef(job_id=row.id, attempt=row.attempt) for row in rows]

    def complete(self, ref: AttemptRef) -> Moved | None:
        """Report success."""
        with self.database.write() as connection:
            return lifecycle.complete(
                connection,
                ref.job_id,
                complete_request(ref.attempt),
                keep_for=KEEP_FOR,
                plans=self.plans,
                now=self.clock.now(),
            )

    def fail(self, ref: AttemptRef, *, retryable: bool = False) -> Moved:
        """Report a failure."""
        request = FailRequest(
            attempt=ref.attempt, code=FailureCode.MODEL_ERROR, message="no", retryable=retryable
        )
        with self.database.write() as connection:
            return lifecycle.fail(
                connection,
                ref.job_id,
                request,
                max_attempts=MAX_ATTEMPTS,
                plans=self.plans,
                now=self.clock.now(),
            )

    def cancel(self, account_id: str, job_id: str) -> Moved | None:
        """The owner takes the job back."""
        with self.database.write() as connection:
            return lifecycle.cancel(
                connection, account_id, job_id, plans=self.plans, now=self.clock.now()
            )

    def forget(self, account_id: str, job_id: str) -> Moved | None:
        """The owner deletes the job."""
        with self.database.write() as connection:
            return lifecycle.forget(
                connection, account_id, job_id, plans=self.plans, now=self.clock.now()
            )

    def reap(self, job_id: str) -> Moved | None:
        """The sweep looks at one job."""
        with self.database.write() as connection:
            return lifecycle.reap(
                connection,
                job_id,
                max_attempts=MAX_ATTEMPTS,
                plans=self.plans,
                now=self.clock.now(),
            )

    def reap_all(self) -> list[Moved]:
        """The whole sweep."""
        with self.database.read() as connection:
            expired = list_expired_leases(connection, now=self.clock.now(), limit=1000)
        return [moved for job_id in expired if (moved := self.reap(job_id))]

    def refresh(self, account_id: str) -> Plan:
        """Somebody looks at the account."""
        with self.database.write() as connection:
            return refresh(connection, account_id, plans=self.plans, now=self.clock.now())

    def topup(self, account_id: str, payment_id: str) -> None:
        """A pack is paid."""
        with self.database.write() as connection:
            buy_topup(
                connection,
                account_id,
                self.plans.topups[0],
                payment_id=payment_id,
                plans=self.plans,
                now=self.clock.now(),
            )

    def give(self, account_id: str, points: int, *, valid_days: int = 30) -> None:
        """Bonus points."""
        with self.database.write() as connection:
            grant_bonus(
                connection,
                account_id,
                points,
                key=secrets.token_hex(8),
                valid_days=valid_days,
                reason="a test",
                plans=self.plans,
                now=self.clock.now(),
            )

    def create_code(self, code: str, *, points: int, max_uses: int, lives_days: int = 30) -> None:
        """A bonus code; what it grants lives ten days."""
        now = self.clock.now()
        with self.database.write() as connection:
            create_code(
                connection,
                code,
                points=points,
                valid_days=10,
                max_uses=max_uses,
                expires_at=now + timedelta(days=lives_days),
                now=now,
            )

    def redeem(self, account_id: str, code: str) -> int:
        """The account names a code."""
        with self.database.write() as connection:
            return redeem(connection, account_id, code, plans=self.plans, now=self.clock.now())

    def change_plan(self, account_id: str, plan_id: str, *, num_periods: int | None = None) -> None:
        """The account's plan is set."""
        now = self.clock.now()
        with self.database.write() as connection:
            refresh(connection, account_id, plans=self.plans, now=now)
            change_plan(
                connection,
                account_id,
                self.plans.get(plan_id),
                plans=self.plans,
                now=now,
                num_periods=num_periods,
            )

    def revoke(self, account_id: str, points: int, key: str) -> None:
        """Points are taken back."""
        now = self.clock.now()
        with self.database.write() as connection:
            refresh(connection, account_id, plans=self.plans, now=now)
            revoke(connection, account_id, points, key=key, reason="a test", now=now)

    def balance(self, account_id: str) -> Balance:
        """What the account has, as of the last time that somebody looked."""
        with self.database.read() as connection:
            return get_balance(connection, account_id)

    def fresh_lots(self, account_id: str) -> list[tuple[str, int]]:
        """Look at the account; its lots with available points, in the order of drawing."""
        self.refresh(account_id)
        found = self.balance(account_id).lots
        return [(each.kind.value, each.available) for each in found if each.available]

    def spent(self, account_id: str) -> int:
        """Points the account was charged in all."""
        with self.database.read() as connection:
            return sum(spent_by_kind(connection, account_id).values())

    def subscription(self, account_id: str) -> Subscription | None:
        """The account's bought plan."""
        with self.database.read() as connection:
            return find_subscription(connection, account_id)

    def job(self, job_id: str) -> Job:
        """The job as it is."""
        with self.database.read() as connection:
            found = find_job(connection, job_id)
        assert found is not None
        return found

    def breaches(self) -> list[Breach]:
        """What the audit finds."""
        with self.database.read() as connection:
            return list(audit(connection))


def spent_by_kind(connection: Connection, account_id: str) -> dict[LotKind, int]:
    """Points the account was charged, by the kind of their lots."""
    rows = connection.execute(
        select(lot.c.kind, func.sum(lot.c.spent))
        .where(lot.c.account_id == account_id)
        .group_by(lot.c.kind)
    )
    return {LotKind(kind): int(points) for kind, points in rows}
