"""A gateway that follows a script: it hands out given jobs and remembers what workers tell it.

It knows no batch keys: what waits is handed out in order, as much as the worker has room for.
"""

import hashlib
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from typing_extensions import override

from gateway.protocol import (
    WORKER_API,
    Assignment,
    AttemptRef,
    ClaimReply,
    ClaimRequest,
    CompleteRequest,
    FailRequest,
    HeartbeatReply,
    HeartbeatRequest,
)

TOKEN = "worker-token"
HEARTBEAT_S = 0.2


class ScriptedGateway:
    """State that tests set and read.

    `is_down`: answer 503 to everything. `completed_at`: by `time.perf_counter`.
    """

    def __init__(self, heartbeat_s: float = HEARTBEAT_S) -> None:
        self._heartbeat_s = heartbeat_s
        self.waiting: list[Assignment] = []
        self.files: dict[str, bytes] = {}
        self.is_down = False
        self.stale: set[str] = set()
        self.drop: list[str] = []
        self.is_draining = False
        self.claims: list[ClaimRequest] = []
        self.heartbeats: list[HeartbeatRequest] = []
        self.uploads: dict[tuple[str, int, str], bytes] = {}
        self.completed: dict[str, CompleteRequest] = {}
        self.completed_at: dict[str, float] = {}
        self.failed: dict[str, FailRequest] = {}
        self.refused = 0
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        """Where workers find it."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def held(self) -> Sequence[AttemptRef]:
        """What the newest heartbeat named."""
        return self.heartbeats[-1].held if self.heartbeats else []

    def hears(self, *, unfit: str | None) -> bool:
        """Whether the newest heartbeat says this."""
        return bool(self.heartbeats) and self.heartbeats[-1].unfit == unfit

    def answer(self, method: str, url: str, headers: dict[str, str], body: bytes) -> "Answer":
        """The status and the body for one request."""
        with self._lock:
            if self.is_down:
                self.refused += 1
                return 503, b""
            if headers.get("authorization") != f"Bearer {TOKEN}":
                return 401, b""
            parts = urlsplit(url)
            if method == "GET":
                content = self.files.get(url)
                return (404, b"") if content is None else (200, content)
            path = parts.path.removeprefix(WORKER_API + "/").split("/")
            if path[0] == "jobs":
                attempt = parse_qs(parts.query).get("attempt", ["0"])[0]
                return self._answer_job(path[1], path[2:], int(attempt), headers, body)
            return 200, self._answer_worker(path[0], body)

    def _answer_worker(self, call: str, body: bytes) -> bytes:
        if call == "claim":
            self.claims.append(ClaimRequest.model_validate_json(body))
            room = 0 if self.is_draining else self.claims[-1].room
            jobs, self.waiting = self.waiting[:room], self.waiting[room:]
            claimed = ClaimReply(jobs=jobs, is_draining=self.is_draining)
            return claimed.model_dump_json().encode()
        assert call == "heartbeat"
        self.heartbeats.append(HeartbeatRequest.model_validate_json(body))
        reply = HeartbeatReply(
            drop=self.drop, heartbeat_s=self._heartbeat_s, is_draining=self.is_draining
        )
        return reply.model_dump_json().encode()

    def _answer_job(
        self, job_id: str, call: list[str], attempt: int, headers: dict[str, str], body: bytes
    ) -> "Answer":
        if job_id in self.stale:
            return 409, b'{"error": {"code": "stale_attempt"}}'
        match call:
            case ["artifacts", role]:
                assert headers["x-content-sha256"] == hashlib.sha256(body).hexdigest()
                self.uploads[job_id, attempt, role] = body
            case ["complete"]:
                self.completed[job_id] = CompleteRequest.model_validate_json(body)
                self.completed_at[job_id] = time.perf_counter()
            case ["fail"]:
                self.failed[job_id] = FailRequest.model_validate_json(body)
            case _:
                return 404, b""
        return 204, b""

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _do(self) -> None:
                length = int(self.headers.get("content-length", 0))
                body = self.rfile.read(length)
                headers = {name.lower(): value for name, value in self.headers.items()}
                status, content = gateway.answer(self.command, self.path, headers, body)
                self.send_response(status)
                if status != 204:
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = _do  # noqa: N815  # the names http.server looks for

            @override
            def log_message(self, format: str, *args: object) -> None:
                """Stay quiet."""

        return Handler


Answer = tuple[int, bytes]
