"""What holds for every store, asked of a folder and of a real S3 server alike."""

import hashlib
import io
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from typing_extensions import override

from gateway.storage.base import ObjectStore
from gateway.storage.s3 import PART_BYTES, S3Store
from tests.integration.storage.conftest import Place
from tests.integration.workers.harness.polling import wait_until
from tests.support.clock import ManualClock
from tests.support.seaweed import SeaweedServer

KEY = "jobs/a/1/video.mp4"
CONTENT = bytes(range(256)) * 10
BIG_BYTES = 40 * 1024 * 1024


class Torn(io.BytesIO):
    """Gives all it has, then fails instead of ending."""

    @override
    def read(self, size: int | None = -1, /) -> bytes:
        chunk = super().read(size)
        if not chunk:
            raise OSError(5, "the source is torn")
        return chunk


class Watched(io.BytesIO):
    """Remembers the largest piece that was asked for; all at once is infinite."""

    largest = 0.0

    @override
    def read(self, size: int | None = -1, /) -> bytes:
        self.largest = max(self.largest, size if size and size > 0 else float("inf"))
        return super().read(size)


def put(store: ObjectStore, key: str, content: bytes = CONTENT) -> None:
    """Store `content` as a video."""
    store.put(key, io.BytesIO(content), "video/mp4")


def test_what_was_put_is_read_back_with_its_type(place: Place) -> None:
    put(place.store, KEY)
    assert place.store.size_bytes(KEY) == len(CONTENT)
    answer = place.fetch(place.store.sign_url(KEY, 60))
    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert answer.headers["content-type"] == "video/mp4"


def test_the_type_is_the_one_given_and_no_guess(s3_place: Place) -> None:
    for size in (10, PART_BYTES + 10):
        s3_place.store.put(KEY, io.BytesIO(b"x" * size), "video/webm")
        answer = s3_place.fetch(s3_place.store.sign_url(KEY, 60))
        assert answer.headers["content-type"] == "video/webm"


def test_only_what_is_left_of_the_source_is_stored(place: Place) -> None:
    source = io.BytesIO(CONTENT)
    source.seek(100)
    place.store.put(KEY, source, "video/mp4")
    assert place.fetch(place.store.sign_url(KEY, 60)).content == CONTENT[100:]


def test_put_again_replaces(place: Place) -> None:
    put(place.store, KEY)
    put(place.store, KEY, b"another")
    assert place.store.size_bytes(KEY) == 7
    assert place.fetch(place.store.sign_url(KEY, 60)).content == b"another"


def test_put_again_clears_what_a_kill_left(local_place: Place) -> None:
    path = local_place.store.local_path("a/b.mp4")
    assert path is not None
    path.parent.mkdir(parents=True)
    path.with_name("b.mp4.0123abcd.part").write_bytes(b"half of it")
    put(local_place.store, "a/b.mp4")
    assert [each.name for each in path.parent.iterdir()] == ["b.mp4"]


def test_an_empty_file_is_a_file(place: Place) -> None:
    put(place.store, KEY, b"")
    assert place.store.size_bytes(KEY) == 0


def test_what_is_not_there_has_no_size(place: Place) -> None:
    assert place.store.size_bytes(KEY) is None


def test_a_key_cannot_leave_the_store(place: Place) -> None:
    with pytest.raises(ValueError, match=r"\.\."):
        put(place.store, "../../elsewhere")


def test_deleting_a_folder_spares_its_namesakes(place: Place) -> None:
    for key in ("jobs/a/1/video.mp4", "jobs/a/inputs/image.png", "jobs/ab/1/video.mp4", "jobs/a.b"):
        put(place.store, key)
    place.store.delete_prefix("jobs/a")
    assert place.store.size_bytes("jobs/a/1/video.mp4") is None
    assert place.store.size_bytes("jobs/a/inputs/image.png") is None
    assert place.store.size_bytes("jobs/ab/1/video.mp4") == len(CONTENT)
    assert place.store.size_bytes("jobs/a.b") == len(CONTENT)


def test_deleting_nothing_is_fine(place: Place) -> None:
    place.store.delete_prefix("jobs/a")
    put(place.store, KEY)
    place.store.delete_prefix("jobs/a")
    place.store.delete_prefix("jobs/a")


def test_folders_are_those_right_below(place: Place) -> None:
    assert list(place.store.list_folders("jobs")) == []
    for key in ("jobs/b/1/video.mp4", KEY, "jobs/ab/inputs/image.png", "jobs/file", "else/c/d"):
        put(place.store, key)
    assert list(place.store.list_folders("jobs")) == ["a", "ab", "b"]
    assert list(place.store.list_folders("jobs/a")) == ["1"]


def test_age_counts_from_the_last_file(place: Place) -> None:
    put(place.store, KEY)
    first = datetime.now(UTC)
    # A server tells whole seconds, and a file system's clock may lag by some milliseconds.
    wait_until(lambda: datetime.now(UTC) > first + timedelta(seconds=1))
    second = datetime.now(UTC).replace(microsecond=0) - timedelta(milliseconds=100)
    put(place.store, "jobs/a/2/video.mp4")

    later = datetime.now(UTC) + timedelta(hours=2)
    assert timedelta(hours=2) <= place.store.age_of("jobs/a", later) <= later - second


def test_what_is_gone_has_no_age(place: Place) -> None:
    now = datetime.now(UTC)
    assert place.store.age_of("jobs/a", now) == timedelta(0)
    put(place.store, KEY)
    place.store.delete_prefix("jobs/a")
    assert place.store.age_of("jobs/a", now) == timedelta(0)


@pytest.mark.parametrize("size", [10, PART_BYTES + 10, 3 * PART_BYTES], ids=["small", "two", "big"])
def test_a_torn_source_leaves_nothing(place: Place, size: int) -> None:
    with pytest.raises(OSError, match="the source is torn") as caught:
        place.store.put(KEY, Torn(b"x" * size), "video/mp4")
    assert caught.value.strerror == "the source is torn"
    assert place.store.size_bytes(KEY) is None
    assert place.fetch(place.store.sign_url(KEY, 60)).status_code == 404


def test_a_big_file_is_taken_in_pieces(place: Place) -> None:
    content = hashlib.shake_256(b"film").digest(BIG_BYTES)
    source = Watched(content)
    place.store.put(KEY, source, "video/mp4")
    assert source.largest <= PART_BYTES
    assert place.store.size_bytes(KEY) == BIG_BYTES
    answer = place.fetch(place.store.sign_url(KEY, 60))
    assert answer.headers["content-type"] == "video/mp4"
    assert hashlib.sha256(answer.content).digest() == hashlib.sha256(content).digest()


def test_a_link_gives_ranges(place: Place) -> None:
    put(place.store, KEY)
    answer = place.fetch(place.store.sign_url(KEY, 60), headers={"Range": "bytes=10-19"})
    assert (answer.status_code, answer.content) == (206, CONTENT[10:20])
    assert answer.headers["content-range"] == f"bytes 10-19/{len(CONTENT)}"


def test_a_link_is_for_one_file_and_not_to_be_changed(place: Place) -> None:
    put(place.store, KEY)
    put(place.store, "jobs/b/1/video.mp4")
    url = place.store.sign_url(KEY, 60)
    forged = url[:-1] + ("1" if url.endswith("0") else "0")
    assert place.fetch(forged).status_code == place.refusal
    assert place.fetch(url.replace("jobs/a", "jobs/b")).status_code == place.refusal
    longer = re.sub(r"(expires=)", r"\g<1>9", url, flags=re.IGNORECASE)
    assert place.fetch(longer).status_code == place.refusal
    assert place.fetch(url).status_code == 200


def test_nobody_reads_without_a_signature(s3_place: Place) -> None:
    put(s3_place.store, KEY)
    bare = urlunsplit(urlsplit(s3_place.store.sign_url(KEY, 60))._replace(query=""))
    assert s3_place.fetch(bare).status_code == s3_place.refusal


def test_a_link_ends(place: Place, clock: ManualClock) -> None:
    put(place.store, KEY)
    url = place.store.sign_url(KEY, 1)
    clock.advance(seconds=1)
    wait_until(lambda: place.fetch(url).status_code == place.refusal)


def test_files_on_this_machine_have_a_path(local_place: Place, s3_place: Place) -> None:
    for place in (local_place, s3_place):
        put(place.store, KEY)
    path = local_place.store.local_path(KEY)
    assert path is not None
    assert path.read_bytes() == CONTENT
    assert s3_place.store.local_path(KEY) is None


def test_a_store_that_works_says_so(place: Place) -> None:
    place.store.check()


def test_a_server_that_is_gone_is_an_os_error(
    weed: str, tmp_path: Path, use_server: Callable[[SeaweedServer], str]
) -> None:
    server = SeaweedServer(weed, tmp_path)
    server.start()
    store = S3Store(use_server(server))
    store.check()
    put(store, KEY)
    server.stop()

    calls: list[Callable[[], object]] = [
        store.check,
        lambda: put(store, KEY),
        lambda: store.size_bytes(KEY),
        lambda: list(store.list_folders("jobs")),
        lambda: store.age_of("jobs/a", datetime.now(UTC)),
    ]
    for call in calls:
        with pytest.raises(OSError, match="error sending request") as caught:
            call()
        assert caught.value.strerror
    # As in a folder: what cannot be removed now is removed later.
    store.delete_prefix("jobs/a")


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("AWS_ACCESS_KEY_ID", "stranger", "InvalidAccessKeyId"),
        ("AWS_SECRET_ACCESS_KEY", "guessed", "SignatureDoesNotMatch"),
    ],
)
def test_wrong_keys_are_found_out(
    storage_url: str, monkeypatch: pytest.MonkeyPatch, name: str, value: str, code: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(OSError, match=code):
        S3Store(storage_url).check()


def test_a_bucket_that_does_not_exist_is_found_out(storage_url: str) -> None:
    store = S3Store(storage_url.replace("reelgate", "reelgaet"))
    with pytest.raises(OSError, match="NoSuchBucket"):
        store.check()
    with pytest.raises(OSError, match="NoSuchBucket") as caught:
        put(store, KEY)
    assert caught.value.strerror
