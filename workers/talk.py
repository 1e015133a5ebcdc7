"""The child's end of the pipe to its parent. A parent that is gone ends the process at once."""

import os
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import NoReturn, cast

from workers.messages import Command, Event


class Talk:
    """Says events from any thread, hears commands in one."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._saying = threading.Lock()

    def say(self, event: Event) -> None:
        """Tell the parent."""
        try:
            with self._saying:
                self._pipe.send(event)
        except OSError:
            end_orphaned()

    def listen(self) -> Command:
        """The next command, however long it takes."""
        try:
            return cast("Command", self._pipe.recv())
        except (EOFError, OSError):
            end_orphaned()

    def heard(self) -> Iterator[Command]:
        """The commands that have come since; waits for none."""
        while self._pipe.poll():
            yield self.listen()


def end_orphaned() -> NoReturn:
    """End this process: nobody is left to speak to."""
    os._exit(1)
