"""The wire of the chaos run does what its moods say."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from tests.chaos.proxy import DELAY_S, Mode, Proxy


@pytest.fixture
def wire() -> Iterator[Proxy]:
    """A wire to a server that says everything back."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=echo, args=(server,), daemon=True).start()
        proxy = Proxy(("127.0.0.1", server.getsockname()[1]))
        proxy.start()
        yield proxy
        proxy.stop()


def echo(server: socket.socket) -> None:
    """Serve until the server's socket is closed."""
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=echo_one, args=(connection,), daemon=True).start()


def echo_one(connection: socket.socket) -> None:
    """Say back what one client says."""
    with connection:
        try:
            while said := connection.recv(4096):
                connection.sendall(said)
        except OSError:
            """The wire was cut."""


def dial(wire: Proxy) -> socket.socket:
    """A connection over the wire."""
    return socket.create_connection(("127.0.0.1", wire.port), timeout=5)


def ask(line: socket.socket, words: bytes) -> bytes:
    """What comes back; nothing if the other end hung up or reset."""
    try:
        line.sendall(words)
        return line.recv(4096)
    except ConnectionError:
        return b""


def switch(wire: Proxy, mode: Mode, eventually: Callable[[Callable[[], bool]], None]) -> None:
    """Change the mood, and wait until it is there."""
    wire.set_mode(mode)
    eventually(lambda: wire.mode is mode)


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], None]:
    """Wait until something is so."""

    def wait(is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 10
        while not is_so():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    return wait


Eventually = Callable[[Callable[[], bool]], None]


def test_it_passes_on_what_both_say(wire: Proxy) -> None:
    with dial(wire) as line:
        assert ask(line, b"one") == b"one"
        assert ask(line, b"two") == b"two"


def test_a_cut_resets_old_and_new_connections(wire: Proxy, eventually: Eventually) -> None:
    with dial(wire) as old:
        assert ask(old, b"one") == b"one"
        switch(wire, Mode.CUT, eventually)
        with pytest.raises(ConnectionResetError):
            old.recv(1)
        # The reset may come before the greeting is over.
        with suppress(ConnectionResetError), dial(wire) as new:
            assert ask(new, b"two") == b""
    switch(wire, Mode.PASS, eventually)
    with dial(wire) as line:
        assert ask(line, b"three") == b"three"


@pytest.mark.parametrize("mode", [Mode.DELAY, Mode.SLOW])
def test_late_is_whole(mode: Mode, wire: Proxy, eventually: Eventually) -> None:
    switch(wire, mode, eventually)
    words = bytes(range(256)) * 8
    with dial(wire) as line:
        began = time.monotonic()
        line.sendall(words)
        heard = b""
        while len(heard) < len(words):
            heard += line.recv(4096)
        assert heard == words
        least_s = 2 * DELAY_S if mode is Mode.DELAY else 0.04
        assert time.monotonic() - began >= least_s


def test_half_open_swallows_and_then_resets(wire: Proxy, eventually: Eventually) -> None:
    with dial(wire) as old, dial(wire) as idle:
        assert ask(old, b"one") == b"one"
        assert ask(idle, b"one") == b"one"
        switch(wire, Mode.HALF_OPEN, eventually)
        old.settimeout(0.3)
        with pytest.raises(TimeoutError):
            ask(old, b"two")
        with dial(wire) as new:
            new.settimeout(0.3)
            with pytest.raises(TimeoutError):
                ask(new, b"two")
            switch(wire, Mode.PASS, eventually)
            for line in (old, new):
                line.settimeout(5)
                assert ask(line, b"three") == b"", "what was half heard is of no use"
        assert ask(idle, b"four") == b"four", "nothing of it was swallowed"


def test_a_client_that_leaves_a_half_open_wire_is_not_missed(
    wire: Proxy, eventually: Eventually
) -> None:
    """As with a host that lost its power: its server goes on waiting for it."""
    with dial(wire) as line:
        assert ask(line, b"one") == b"one"
        switch(wire, Mode.HALF_OPEN, eventually)
    threads = threading.active_count()
    with dial(wire) as another:
        another.settimeout(0.3)
        with pytest.raises(TimeoutError):
            another.recv(1)
    assert threading.active_count() == threads
    switch(wire, Mode.PASS, eventually)
    eventually(lambda: threading.active_count() < threads)
