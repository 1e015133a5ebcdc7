"""What a file store does. Keys look like paths: `videos/<job>/<attempt>/video.mp4`.

A file appears under its key whole or not at all, and is never changed afterwards.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Protocol


class ObjectStore(Protocol):
    """Local files or S3."""

    def put(self, key: str, source: IO[bytes], content_type: str) -> None:
        """Store all of `source` under `key`; a file already there is replaced.

        Raises:
            OSError: nothing is left under `key`.
        """

    def size_bytes(self, key: str) -> int | None:
        """Size of the file under `key`; None if there is none."""

    def delete_prefix(self, prefix: str) -> None:
        """Remove every file whose key starts with the folder `prefix`; none is fine."""

    def list_folders(self, prefix: str) -> Iterator[str]:
        """Names of the folders right under the folder `prefix`."""

    def age_of(self, folder: str, now: datetime) -> timedelta:
        """How long ago something in `folder` last appeared; zero if it is gone."""

    def local_path(self, key: str) -> Path | None:
        """Where the file lies on this machine; None if it lies elsewhere: then use `sign_url`."""

    def sign_url(self, key: str, ttl_s: float) -> str:
        """A link that reads the file for `ttl_s` seconds; starting with `/` it is our own."""

    def check(self) -> None:
        """Prove that the store works.

        Raises:
            OSError: it does not.
        """
