"""Listening to event streams as a client does, and telling progress as a worker does."""

import json
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2

from gateway.protocol import Assignment, Progress
from models.spec import Stage
from tests.support.api import Client
from workers.live import LiveChannel

WAIT_S = 20.0


@dataclass
class Event:
    """One event as it was sent."""

    name: str
    data: dict[str, Any]
    id: str | None


@dataclass
class Listener:
    """Reads an event stream in a thread of its own."""

    response: Any
    comments: list[str] = field(default_factory=list)
    last_id: str | None = None
    _events: "queue.Queue[Event | None]" = field(default_factory=queue.Queue)

    def read(self) -> None:
        """Until the stream ends or is closed."""
        fields: dict[str, str] = {}
        try:
            for line in self.response.iter_lines():
                name, _, value = line.partition(": ")
                if line.startswith(":"):
                    self.comments.append(line)
                elif line:
                    fields[name] = value
                else:
                    self._dispatch(fields)
                    fields = {}
        except (httpx2.TransportError, httpx2.StreamError):
            pass
        self._events.put(None)

    def next(self) -> Event:
        """The next event."""
        event = self._events.get(timeout=WAIT_S)
        assert event is not None, "the stream ended"
        return event

    def rest(self) -> list[Event]:
        """Every event until the stream ends by itself."""
        return list(iter(lambda: self._events.get(timeout=WAIT_S), None))

    def until(self, name: str) -> list[Event]:
        """Events up to the next of this name, itself included."""
        events = [self.next()]
        while events[-1].name != name:
            events.append(self.next())
        return events

    def _dispatch(self, fields: dict[str, str]) -> None:
        self.last_id = fields.get("id", self.last_id)
        if "event" in fields:
            data = json.loads(fields["data"])
            self._events.put(Event(fields["event"], data, fields.get("id")))


@contextmanager
def listening(client: Client, path: str, *, after: str | None = None) -> Iterator[Listener]:
    """An open event stream; closing it is the client going away."""
    headers = client.headers | ({"Last-Event-ID": after} if after else {})
    with client.http.stream("GET", f"/v1{path}", headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        listener = Listener(response)
        thread = threading.Thread(target=listener.read)
        thread.start()
        try:
            yield listener
        finally:
            # Closing does not reach a thread that waits for more; this does.
            socket_of(response).shutdown(socket.SHUT_RDWR)
            thread.join(WAIT_S)


def socket_of(response: Any) -> socket.socket:
    """The connection under a response."""
    found: socket.socket = response.extensions["network_stream"].get_extra_info("socket")
    return found


def eventually(check: Callable[[], bool]) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + WAIT_S
    while not check():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.01)


def tell(
    channel: LiveChannel, job: Assignment, done: int, *, stage: Stage = Stage.DENOISING
) -> None:
    """A step of a job, as its worker tells it."""
    channel.publish(job.job_id, Progress(attempt=job.attempt, stage=stage, done=done, total=12))


def steps(events: list[Event]) -> list[int]:
    """Which steps they tell of."""
    return [event.data["step"] for event in events if event.name == "progress"]
