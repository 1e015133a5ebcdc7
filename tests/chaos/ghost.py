"""A worker host that dies right after every claim, and comes back as a zombie to report.

Now and then it uploads a file first, which is none. Its lease runs out, its job goes to somebody
else, and only then does it send a file and say "done" or "failed". Whatever the gateway accepts of
that is a breach.
"""

import random
import threading

import httpx2
from sqlalchemy import select

from gateway.db.session import Database
from gateway.db.tables import job
from gateway.domain.jobs import JobState
from gateway.protocol import ArtifactRole, Assignment
from tests.chaos.clients import PATIENT_S
from tests.chaos.diary import Diary
from tests.support.api import VIDEO_BYTES, PaperWorker

MAX_ZOMBIES = 3
# Of a claim, twenty times a second.
CLAIM_CHANCE = 0.03
UPLOAD_CHANCE = 0.7
_LOOK_EVERY_S = 0.05


class Ghost:
    """Haunts until `is_over`; looks into the database to know when it is a zombie."""

    def __init__(
        self,
        base_url: str,
        token: str,
        database: Database,
        diary: Diary,
        *,
        seed: int,
        is_over: threading.Event,
    ) -> None:
        self._base_url = base_url
        self._token = token
        self._database = database
        self._diary = diary
        self._chance = random.Random(seed)  # noqa: S311 -- a choice, not a secret
        self._is_over = is_over
        self._zombies: list[Assignment] = []

    def run(self) -> None:
        """Claim, vanish, come back, be refused."""
        with httpx2.Client(base_url=self._base_url, timeout=PATIENT_S) as http:
            worker = PaperWorker(http, self._token, name="ghost")
            while not self._is_over.wait(_LOOK_EVERY_S):
                if len(self._zombies) < MAX_ZOMBIES and self._chance.random() < CLAIM_CHANCE:
                    self._claim(worker)
                self._zombies = [each for each in self._zombies if not self._haunt(worker, each)]

    def _claim(self, worker: PaperWorker) -> None:
        try:
            claimed = worker.claim(room=self._chance.choice([1, 1, 2]))
        except (httpx2.TransportError, AssertionError):
            # What such a claim got, nobody will ever render: that is a lost lease too.
            return
        for each in claimed:
            self._diary.count("vanished after a claim")
            self._zombies.append(each)
            if self._chance.random() < UPLOAD_CHANCE:
                self._upload(worker, each)

    def _haunt(self, worker: PaperWorker, zombie: Assignment) -> bool:
        """Look after one; True if its time has come and it was laid to rest."""
        state, attempt = self._look(zombie.job_id)
        if attempt == zombie.attempt and not state.is_terminal:
            return False
        self._return(worker, zombie)
        return True

    def _look(self, job_id: str) -> tuple[JobState, int]:
        with self._database.read() as connection:
            query = select(job.c.state, job.c.attempt).where(job.c.id == job_id)
            row = connection.execute(query).one()
        return JobState(row.state), row.attempt

    def _upload(self, worker: PaperWorker, assignment: Assignment) -> None:
        try:
            answer = worker.upload(assignment, ArtifactRole.VIDEO, VIDEO_BYTES)
        except httpx2.TransportError:
            return
        if answer.is_success:
            self._diary.count("vanished after an upload")

    def _return(self, worker: PaperWorker, zombie: Assignment) -> None:
        tries = {
            "upload": lambda: worker.upload(zombie, ArtifactRole.VIDEO, VIDEO_BYTES),
            "finish": lambda: worker.complete(zombie),
            "failure": lambda: worker.fail(zombie, retryable=self._chance.random() < 0.5),
        }
        for what in ("finish", "upload", "failure"):
            try:
                answer = tries[what]()
            except httpx2.TransportError:
                continue
            if answer.is_success:
                detail = f"{what} of {zombie.job_id}, attempt {zombie.attempt}"
                self._diary.blame("a zombie was heard", detail)
            elif answer.status_code == httpx2.codes.CONFLICT:
                self._diary.count(f"zombie's {what} refused")
