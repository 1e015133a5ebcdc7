"""Files in a folder of this machine, read by others through links that we sign."""

import hashlib
import hmac
import os
import secrets
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO
from urllib.parse import quote

from typing_extensions import override

from gateway.clock import Clock
from gateway.storage.base import ObjectStore

FILES_ROUTE = "/files"
_PART_SUFFIX = ".part"
_CHUNK_BYTES = 1024 * 1024


class LocalStore(ObjectStore):
    """`root` holds the files; `secret` signs the links."""

    def __init__(self, root: Path, secret: bytes, clock: Clock) -> None:
        self._root = root
        self._secret = secret
        self._clock = clock
        root.mkdir(parents=True, exist_ok=True)

    @override
    def put(self, key: str, source: IO[bytes], content_type: str) -> None:
        target = self._path(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        # What a killed process left of an earlier try.
        for left in target.parent.glob(f"{target.name}.*{_PART_SUFFIX}"):
            left.unlink(missing_ok=True)
        part = target.with_name(f"{target.name}.{secrets.token_hex(4)}{_PART_SUFFIX}")
        try:
            with part.open("wb") as file:
                shutil.copyfileobj(source, file, _CHUNK_BYTES)
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    @override
    def size_bytes(self, key: str) -> int | None:
        try:
            return self._path(key).stat().st_size
        except FileNotFoundError:
            return None

    @override
    def delete_prefix(self, prefix: str) -> None:
        shutil.rmtree(self._path(prefix), ignore_errors=True)

    @override
    def list_folders(self, prefix: str) -> Iterator[str]:
        folder = self._path(prefix)
        if folder.is_dir():
            yield from sorted(child.name for child in folder.iterdir() if child.is_dir())

    @override
    def age_of(self, folder: str, now: datetime) -> timedelta:
        try:
            changed = self._path(folder).stat().st_mtime
        except FileNotFoundError:
            return timedelta(0)
        return now - datetime.fromtimestamp(changed, UTC)

    @override
    def local_path(self, key: str) -> Path:
        return self._path(key)

    @override
    def sign_url(self, key: str, ttl_s: float) -> str:
        expires = int(self._clock.now().timestamp() + ttl_s)
        return f"{FILES_ROUTE}/{quote(key)}?expires={expires}&signature={self._sign(key, expires)}"

    @override
    def check(self) -> None:
        probe = self._root / f".probe-{secrets.token_hex(4)}"
        probe.write_bytes(b"ok")
        probe.unlink()

    def find_signed(self, key: str, expires: int, signature: str) -> Path | None:
        """The file a link of `sign_url` leads to; None if it is forged, too old or gone."""
        genuine = hmac.compare_digest(self._sign(key, expires).encode(), signature.encode())
        if not genuine or self._clock.now().timestamp() >= expires:
            return None
        path = self._path(key)
        return path if path.is_file() else None

    def _sign(self, key: str, expires: int) -> str:
        message = f"{expires}:{key}".encode()
        return hmac.new(self._secret, message, hashlib.sha256).hexdigest()

    def _path(self, key: str) -> Path:
        path = (self._root / key).resolve()
        if not path.is_relative_to(self._root.resolve()):
            raise ValueError(f"key leaves the store: {key!r}")
        return path
