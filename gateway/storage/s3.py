"""Files in a bucket of S3 or of a server that speaks it, read by others through presigned links.

Endpoint, region and keys come from the standard `AWS_*` variables. Imported only when a bucket is
configured, because the client is an extra: `pip install 'reelgate[s3]'`.
"""

import errno
import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from itertools import chain, islice
from typing import IO
from urllib.parse import urlsplit

import obstore
import structlog
from obstore.exceptions import BaseError
from obstore.store import S3Store as Bucket
from typing_extensions import override

from gateway.storage.base import ObjectStore

# S3 takes 10 000 parts of a file: 80 GB at this size. A put holds about six parts in memory.
PART_BYTES = 8 * 1024 * 1024
_PARTS_AT_ONCE = 4
# As many keys as one request lists, and as one request deletes.
_PAGE_KEYS = 1000
# No file is ever stored under it, so that listing it is one small request.
_PROBE_FOLDER = ".probe"
_YES = {"1", "on", "true", "y", "yes"}

log = structlog.get_logger()


class S3Store(ObjectStore):
    """The folder of the bucket that `url` names: `s3://bucket` or `s3://bucket/folder`.

    A process killed in the middle of a big `put` leaves parts that nobody sees but the bill: give
    the bucket a lifecycle rule that aborts incomplete multipart uploads.
    """

    def __init__(self, url: str) -> None:
        # One request carries one part at most, so a minute is enough for 140 kB/s.
        self._bucket = _open(url, connect_s=5, request_s=60, max_retries=3)
        self._probe = _open(url, connect_s=2, request_s=3, max_retries=0)

    @override
    def put(self, key: str, source: IO[bytes], content_type: str) -> None:
        parts = iter(partial(source.read, PART_BYTES), b"")
        head = list(islice(parts, 2))
        is_big = len(head) > 1
        with _as_os_error():
            obstore.put(
                self._bucket,
                key,
                chain(head, parts) if is_big else b"".join(head),
                attributes={"Content-Type": content_type},
                use_multipart=is_big,
                chunk_size=PART_BYTES,
                max_concurrency=_PARTS_AT_ONCE,
            )

    @override
    def size_bytes(self, key: str) -> int | None:
        with _as_os_error():
            try:
                return obstore.head(self._bucket, key)["size"]
            except FileNotFoundError:
                return None

    @override
    def delete_prefix(self, prefix: str) -> None:
        """As the base says; what cannot be removed now is logged and left to a later sweep."""
        try:
            with _as_os_error():
                for page in obstore.list(self._bucket, prefix, chunk_size=_PAGE_KEYS):
                    obstore.delete(self._bucket, [file["path"] for file in page])
        except OSError as error:
            log.warning("store_delete_failed", prefix=prefix, problem=error.strerror)

    @override
    def list_folders(self, prefix: str) -> Iterator[str]:
        """As the base says; a server with real directories may name one that was just emptied."""
        with _as_os_error():
            found = obstore.list_with_delimiter(self._bucket, prefix)
        yield from sorted(path.rpartition("/")[2] for path in found["common_prefixes"])

    @override
    def age_of(self, folder: str, now: datetime) -> timedelta:
        with _as_os_error():
            pages = obstore.list(self._bucket, folder, chunk_size=_PAGE_KEYS)
            appeared = (file["last_modified"] for page in pages for file in page)
            return now - max(appeared, default=now)

    @override
    def local_path(self, key: str) -> None:
        return None

    @override
    def sign_url(self, key: str, ttl_s: float) -> str:
        """As the base says; the link is good for GET alone, and S3 allows seven days at most."""
        with _as_os_error():
            return obstore.sign(self._bucket, "GET", key, timedelta(seconds=math.ceil(ttl_s)))

    @override
    def check(self) -> None:
        """As the base says; endpoint, bucket and keys are proven by one listing, writing is not."""
        with _as_os_error():
            next(iter(obstore.list(self._probe, _PROBE_FOLDER, chunk_size=1)), None)


def _open(url: str, *, connect_s: float, request_s: float, max_retries: int) -> Bucket:
    """A client of the bucket; makes no connection yet."""
    place = urlsplit(url)
    return Bucket(
        place.netloc,
        prefix=place.path.strip("/") or None,
        client_options={
            # The client reads every other variable itself, but not this one beside options.
            "allow_http": os.environ.get("AWS_ALLOW_HTTP", "").lower() in _YES,
            "connect_timeout": timedelta(seconds=connect_s),
            "timeout": timedelta(seconds=request_s),
        },
        retry_config={"max_retries": max_retries, "retry_timeout": timedelta(seconds=request_s)},
    )


@contextmanager
def _as_os_error() -> Iterator[None]:
    """Turn the client's errors into OSError with a `strerror`; others pass as they are."""
    try:
        yield
    except (BaseError, OSError) as error:
        # With a number it comes from the source of a put.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise OSError(errno.EIO, _brief(error)) from None


def _brief(error: Exception) -> str:
    """The first line, and the server's code; what follows may quote signed headers."""
    text = str(error)
    line = text.partition("\n")[0].partition("<")[0].rstrip(": ")
    code = re.search(r"<Code>(\w+)</Code>", text)
    return f"{line} ({code[1]})" if code else line
