"""A writer to be killed: it sends, claims and ends jobs until nobody lets it live.

What was answered is in its diary, on the disk, before the next move: `sends KEY` before a submit,
then `sent KEY JOB`, `ended JOB STATE` and `granted PAYMENT` after their commits. Whoever comes
next reads the diary and repeats what got no answer, as a client would.
"""

import os
import random
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

from gateway.db.session import Database
from gateway.domain.errors import AlreadyDone, InsufficientPoints, StaleAttempt, TooManyJobs
from gateway.protocol import AttemptRef
from tests.support.ledger import LEASE_S, Teller

PRICE = 7
LIFE_S = LEASE_S + 1
NUM_THREADS = 3


class LaterClock:
    """The clock of the writer of this number: each is born when its forebear's leases are over."""

    def __init__(self, number: int) -> None:
        self._ahead = timedelta(seconds=number * LIFE_S)

    def now(self) -> datetime:
        """The present instant, aware, in UTC."""
        return datetime.now(UTC) + self._ahead


class Diary:
    """Lines that are on the disk once `write` returns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def write(self, *words: str) -> None:
        """Add a line; its last word says that it is whole."""
        with self._lock, self._path.open("a", encoding="utf-8") as file:
            file.write(f"\n{' '.join(words)} .\n")
            file.flush()
            os.fsync(file.fileno())


def read_diary(path: Path) -> list[list[str]]:
    """Its lines as words; one that a kill cut short was never written."""
    lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    return [line[:-1] for line in lines if line and line[-1] == "."]


def unanswered(lines: list[list[str]]) -> list[str]:
    """Keys that were sent and got no answer."""
    answered = {line[1] for line in lines if line[0] == "sent"}
    return [line[1] for line in lines if line[0] == "sends" and line[1] not in answered]


def send(teller: Teller, account_id: str, key: str, diary: Diary) -> None:
    """Submit under `key`; pay for more points until there are enough of them."""
    while True:
        try:
            diary.write("sent", key, teller.submit(account_id, PRICE, key=key).job_id)
        except InsufficientPoints:
            _pay(teller, account_id, f"{key}-{os.urandom(4).hex()}", diary)
        except TooManyJobs:
            for ref in teller.claim(limit=4):
                _end(teller, account_id, ref, diary, random.Random(key))  # noqa: S311 -- a choice, not a secret
        else:
            return


def write_until_killed(url: str, account_id: str, path: Path, number: int) -> None:
    """Repeat what got no answer, then go on with new work, for ever."""
    teller = Teller(Database(url), LaterClock(number))
    diary = Diary(path)
    teller.reap_all()
    for key in unanswered(read_diary(path)):
        send(teller, account_id, key, diary)
    for thread in range(NUM_THREADS):
        threading.Thread(
            target=_work, args=(teller, account_id, diary, f"{number}-{thread}"), daemon=True
        ).start()
    threading.Event().wait()


def _work(teller: Teller, account_id: str, diary: Diary, name: str) -> None:
    chance = random.Random(name)  # noqa: S311 -- a choice, not a secret
    for key in _keys(name):
        diary.write("sends", key)
        send(teller, account_id, key, diary)
        for ref in teller.claim():
            _end(teller, account_id, ref, diary, chance)


def _keys(name: str) -> Iterator[str]:
    return (f"{name}-{number}" for number in count())


def _pay(teller: Teller, account_id: str, payment_id: str, diary: Diary) -> None:
    for _ in range(2):
        try:
            teller.topup(account_id, payment_id)
        except AlreadyDone:
            diary.write("granted", payment_id)


def _end(
    teller: Teller, account_id: str, ref: AttemptRef, diary: Diary, chance: random.Random
) -> None:
    try:
        match chance.randrange(4):
            case 0:
                moved = teller.fail(ref)
            case 1:
                moved_or_none = teller.cancel(account_id, ref.job_id)
                assert moved_or_none is not None
                moved = moved_or_none
            case _:
                done = teller.complete(ref)
                assert done is not None
                moved = done
    except StaleAttempt:
        return
    diary.write("ended", ref.job_id, moved.state)
