"""Customers: submit, look, cancel, delete, and send again whatever got no answer.

Each has a thread and an account of its own. A submit is sent under one `Idempotency-Key` until it
is answered, so an answer is worth something: what it named must be there in the end.
"""

import io
import random
import threading
import time
from dataclasses import dataclass
from typing import Any

import httpx2
from PIL import Image

from tests.chaos.diary import Diary

MAX_OPEN = 5
PAUSE_S = (0.02, 0.25)
RETRY_S = (0.1, 0.6)
PATIENT_S = 5.0
# Too short for most answers: what was done, the client does not learn.
HASTY_S = 0.012
FINAL = ("succeeded", "failed", "canceled")
_AGAIN = 429
_SERVER_ERROR = 500
_COLOURS = ("navy", "red", "white", "green")


@dataclass(frozen=True)
class Account:
    """Who a customer is."""

    id: str
    key: str


class GaveUp(Exception):
    """The system never answered, long after it was healed."""


class Customer:
    """Makes requests until `is_over`, finishes the last one until `is_hopeless`.

    Attributes:
        name: its keys begin with it.
        open: jobs that were accepted and not seen to have ended.
    """

    def __init__(
        self,
        account: Account,
        base_url: str,
        diary: Diary,
        *,
        seed: str,
        is_over: threading.Event,
        is_hopeless: threading.Event,
    ) -> None:
        self.name = f"customer {seed}"
        self.open: list[str] = []
        self._account = account
        self._base_url = base_url
        self._diary = diary
        self._chance = random.Random(seed)  # noqa: S311 -- a choice, not a secret
        self._is_over = is_over
        self._is_hopeless = is_hopeless
        self._attempts: dict[str, int] = {}
        self._ended: list[str] = []
        self._number = 0

    def run(self) -> None:
        """Be a customer."""
        headers = {"Authorization": f"Bearer {self._account.key}"}
        with httpx2.Client(base_url=self._base_url, headers=headers, timeout=PATIENT_S) as http:
            self._http = http
            while not self._is_over.wait(self._chance.uniform(*PAUSE_S)):
                try:
                    self._act()
                except GaveUp as error:
                    self._diary.blame("a request was never answered", str(error))
                    return

    def _act(self) -> None:
        choice = self._chance.random()
        if len(self.open) < MAX_OPEN and choice < 0.6:
            self._submit()
        elif self.open and choice < 0.85:
            self._look(self._chance.choice(self.open))
        elif self.open and choice < 0.96:
            self._cancel(self._chance.choice(self.open))
        elif self._ended:
            self._delete(self._ended.pop(self._chance.randrange(len(self._ended))))

    def _submit(self) -> None:
        self._number += 1
        key = f"{self.name} {self._number}"
        request: dict[str, Any] = {"headers": {"Idempotency-Key": key}}
        fields = {
            "prompt": "a red circle moving right on a black background",
            "num_inference_steps": self._chance.choice([4, 4, 12]),
            "seed": self._number,
        }
        if self._chance.random() < 0.15:
            picture = io.BytesIO()
            Image.new("RGB", (64, 64), self._chance.choice(_COLOURS)).save(picture, "PNG")
            request["data"] = {name: str(value) for name, value in fields.items()}
            request["files"] = {"input_reference": ("first.png", picture.getvalue(), "image/png")}
        else:
            request["json"] = fields
        is_hasty = self._chance.random() < 0.2
        answer = self._ask("POST", "/v1/videos", is_hasty=is_hasty, **request)
        if answer is None:
            return
        if "Idempotent-Replayed" in answer.headers:
            self._diary.count("replayed")
        video = answer.json()
        self._diary.ack(video["id"], self._account.id)
        self.open.append(video["id"])
        self._note(video)
        if self._chance.random() < 0.05 and video["id"] in self.open:
            self._cancel(video["id"])

    def _look(self, job_id: str) -> None:
        answer = self._ask("GET", f"/v1/videos/{job_id}")
        if answer is not None:
            self._note(answer.json())

    def _cancel(self, job_id: str) -> None:
        answer = self._ask("POST", f"/v1/videos/{job_id}/cancel")
        if answer is None:
            return
        video = answer.json()
        self._note(video)
        if video["metadata"]["state"] not in FINAL:
            self._diary.blame("a canceled job goes on", job_id)

    def _delete(self, job_id: str) -> None:
        # After a lost answer the second request finds nothing: the first one was carried out.
        if self._ask("DELETE", f"/v1/videos/{job_id}", gone_is_done=True) is not None:
            self._diary.note_deleted(job_id)
            self._diary.count("deleted")

    def _note(self, video: dict[str, Any]) -> None:
        """Compare what is told of a job with what was told before."""
        job_id, state = video["id"], video["metadata"]["state"]
        attempt = video["metadata"]["attempt"]
        if attempt < self._attempts.get(job_id, 0):
            self._diary.blame("a job went back to an earlier attempt", job_id)
        self._attempts[job_id] = attempt
        if state in FINAL:
            self._diary.note_end(job_id, state)
            self._ended.append(job_id)
            self.open.remove(job_id)

    def _ask(
        self,
        method: str,
        path: str,
        *,
        is_hasty: bool = False,
        gone_is_done: bool = False,
        **request: Any,
    ) -> httpx2.Response | None:
        """The answer, after as many tries as it takes; None if it is a refusal, which is noted.

        Raises:
            GaveUp: there was none.
        """
        has_failed = False
        timeout_s = HASTY_S if is_hasty else PATIENT_S
        while True:
            answer = self._try(method, path, timeout=timeout_s, **request)
            if answer is not None:
                return self._judge(answer, has_failed=has_failed, gone_is_done=gone_is_done)
            has_failed = True
            timeout_s = PATIENT_S
            if self._is_hopeless.wait(self._chance.uniform(*RETRY_S)):
                raise GaveUp(f"{method} {path} of {self.name}")

    def _try(self, method: str, path: str, **request: Any) -> httpx2.Response | None:
        """The answer; None if there was none, or if it said to come back."""
        began = time.monotonic()
        try:
            answer = self._http.request(method, path, **request)
        except httpx2.TransportError as error:
            self._diary.count(f"no answer: {type(error).__name__}")
            return None
        finally:
            if time.monotonic() - began > PATIENT_S / 2:
                self._diary.count("answers after 2.5 s and more")
        if answer.status_code == _AGAIN or answer.status_code > _SERVER_ERROR:
            self._diary.count(f"answered {answer.status_code}")
            return None
        return answer

    def _judge(
        self, answer: httpx2.Response, *, has_failed: bool, gone_is_done: bool
    ) -> httpx2.Response | None:
        if answer.is_success:
            return answer
        if gone_is_done and has_failed and answer.status_code == httpx2.codes.NOT_FOUND:
            return answer
        asked = f"{answer.request.method} {answer.request.url.path}"
        self._diary.blame("a good request was refused", f"{asked}: {answer.text[:300]}")
        return None
