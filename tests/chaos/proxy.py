"""A wire that can be cut: a TCP proxy on loopback before a server, in one of five moods.

It runs in a thread of its own; `set_mode` may be called from any.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

LOOPBACK = "127.0.0.1"
DELAY_S = 0.4
# A trickle of 25 kB/s.
SLOW_PIECE_BYTES = 512
SLOW_PAUSE_S = 0.02
_CHUNK_BYTES = 1 << 16
# `struct linger`: on, for zero seconds.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)

Target = tuple[str, int] | Path
"""Host and port, or the path of a Unix socket."""


class Mode(StrEnum):
    """What the wire does with bytes."""

    PASS = "pass"
    # Every connection is reset, a new one as soon as it is there.
    CUT = "cut"
    # Each chunk comes later; answers come at last.
    DELAY = "delay"
    SLOW = "slow"
    # Both ends believe in the other; what they send is swallowed. Ends with a reset.
    HALF_OPEN = "half_open"


class _Link:
    """A connection of a client and, if it got so far, the one to the server."""

    def __init__(self, client: asyncio.StreamWriter) -> None:
        self.is_spoiled = False
        self.task = asyncio.current_task()
        self._writers = [client]

    def add(self, server: asyncio.StreamWriter) -> None:
        self._writers.append(server)

    def reset(self) -> None:
        for writer in self._writers:
            with contextlib.suppress(OSError):
                writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE
                )
            writer.transport.abort()


class Proxy:
    """Listens on `port` and passes on to `target`, once `start` has returned."""

    def __init__(self, target: Target) -> None:
        self.mode = Mode.PASS
        self.port = 0
        self._target = target
        self._links: set[_Link] = set()
        self._loop = asyncio.new_event_loop()
        self._is_up = threading.Event()
        # Made in the loop's own thread.
        self._stop: asyncio.Event
        self._is_whole: asyncio.Event
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()
        self._is_up.wait()

    def stop(self) -> None:
        """Reset every connection and stop to listen."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def set_mode(self, mode: Mode) -> None:
        """Change the mood, for the connections that stand too."""
        self._loop.call_soon_threadsafe(self._change, mode)

    def _change(self, mode: Mode) -> None:
        self.mode = mode
        if mode is Mode.HALF_OPEN:
            self._is_whole.clear()
        else:
            self._is_whole.set()
        for link in list(self._links):
            # Of what was swallowed nobody can make sense any more.
            if mode is Mode.CUT or (link.is_spoiled and mode is not Mode.HALF_OPEN):
                link.reset()

    def _run(self) -> None:
        self._loop.run_until_complete(self._listen())
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _listen(self) -> None:
        self._stop, self._is_whole = asyncio.Event(), asyncio.Event()
        self._is_whole.set()
        server = await asyncio.start_server(self._serve, LOOPBACK, 0)
        self.port = server.sockets[0].getsockname()[1]
        self._is_up.set()
        await self._stop.wait()
        server.close()
        self._change(Mode.CUT)
        await asyncio.gather(*(link.task for link in self._links if link.task))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(writer)
        self._links.add(link)
        try:
            with contextlib.suppress(OSError):
                await self._connect(link, reader, writer)
        finally:
            link.reset()
            self._links.discard(link)

    async def _connect(
        self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if self.mode is Mode.CUT:
            return
        if not self._is_whole.is_set():
            link.is_spoiled = True
            while await reader.read(_CHUNK_BYTES):
                """Swallowed."""
            return
        answers, server = await self._open()
        link.add(server)
        there = asyncio.create_task(self._pump(link, reader, server))
        back = asyncio.create_task(self._pump(link, answers, writer))
        await asyncio.wait([there, back], return_when=asyncio.FIRST_COMPLETED)
        # In this mood the server does not hear that its client has gone.
        await self._is_whole.wait()
        link.reset()
        await asyncio.wait([there, back])

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._target, Path):
            return await asyncio.open_unix_connection(str(self._target))
        return await asyncio.open_connection(*self._target)

    async def _pump(
        self, link: _Link, source: asyncio.StreamReader, sink: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await source.read(_CHUNK_BYTES):
                for piece, pause_s in self._pieces(chunk):
                    await asyncio.sleep(pause_s)
                    if not self._is_whole.is_set():
                        link.is_spoiled = True
                    if not link.is_spoiled:
                        sink.write(piece)
                        await sink.drain()
        if not self._is_whole.is_set():
            link.is_spoiled = True

    def _pieces(self, chunk: bytes) -> Iterator[tuple[bytes, float]]:
        """`chunk` in the pieces it is passed on in, each with the pause before it."""
        if self.mode is not Mode.SLOW:
            yield chunk, DELAY_S if self.mode is Mode.DELAY else 0.0
            return
        for start in range(0, len(chunk), SLOW_PIECE_BYTES):
            yield chunk[start : start + SLOW_PIECE_BYTES], SLOW_PAUSE_S
