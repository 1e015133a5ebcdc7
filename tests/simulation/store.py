"""A file store in memory that fails, is slow, and outlives the gateway."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO

from typing_extensions import override

from gateway.storage.base import ObjectStore
from tests.simulation.process import Process

MAX_PAUSE_S = 12.0


@dataclass
class Files:
    """What lies in the store: size and instant by key."""

    by_key: dict[str, tuple[int, datetime]] = field(default_factory=dict)


class Store(ObjectStore):
    """The gateway's side of the store, one for each life of the process."""

    def __init__(self, files: Files, process: Process) -> None:
        self._files = files.by_key
        self._process = process
        self._world = process.world

    @override
    def put(self, key: str, source: IO[bytes], content_type: str) -> None:
        self._touch()
        self._files[key] = (len(source.read()), self._world.clock.now())
        self._process.may_die("after a put")

    @override
    def size_bytes(self, key: str) -> int | None:
        self._process.check()
        size = self._files[key][0] if key in self._files else None
        self._process.pause(MAX_PAUSE_S)
        return size

    @override
    def delete_prefix(self, prefix: str) -> None:
        self._touch()
        for key in self._under(prefix):
            del self._files[key]

    @override
    def list_folders(self, prefix: str) -> Iterator[str]:
        self._process.check()
        depth = prefix.count("/") + 1
        yield from sorted({key.split("/")[depth] for key in self._under(prefix)})

    @override
    def age_of(self, folder: str, now: datetime) -> timedelta:
        made = [self._files[key][1] for key in self._under(folder)]
        return now - max(made) if made else timedelta(0)

    @override
    def local_path(self, key: str) -> Path | None:
        return None

    @override
    def sign_url(self, key: str, ttl_s: float) -> str:
        return key

    @override
    def check(self) -> None:
        return None

    def _touch(self) -> None:
        self._process.may_die("before the store")
        self._process.pause(MAX_PAUSE_S)
        if self._world.strikes("store fails"):
            raise OSError("no store")

    def _under(self, prefix: str) -> list[str]:
        return sorted(key for key in self._files if key.startswith(f"{prefix}/"))
