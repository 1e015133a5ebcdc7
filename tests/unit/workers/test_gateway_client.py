"""Every answer of the gateway falls into one of four kinds."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from pydantic import SecretStr

from gateway.protocol import (
    ArtifactRole,
    AttemptRef,
    ClaimRequest,
    FailRequest,
    FailureCode,
    InputFile,
    InputRole,
    UploadedArtifact,
)
from workers.gateway_client import (
    GatewayClient,
    GatewayError,
    GatewayRefused,
    GatewayUnavailable,
    InputDamaged,
    StaleAttempt,
)

Handler = Callable[[httpx2.Request], httpx2.Response]
FAILURE = FailRequest(attempt=3, code=FailureCode.MODEL_ERROR, message="x", retryable=True)


def a_client(handler: Handler) -> GatewayClient:
    client = GatewayClient("http://gateway", SecretStr("secret"))
    client._http = httpx2.Client(
        base_url="http://gateway",
        headers=client._http.headers,
        transport=httpx2.MockTransport(handler),
    )
    return client


def heed() -> None:
    """Goes on waiting."""


def an_input(content: bytes, url: str = "/files/1?sig=x") -> InputFile:
    digest = hashlib.sha256(content).hexdigest()
    return InputFile(role=InputRole.IMAGE, url=url, sha256=digest, size_bytes=len(content))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (409, StaleAttempt),
        (404, StaleAttempt),
        (500, GatewayUnavailable),
        (503, GatewayUnavailable),
        (429, GatewayUnavailable),
        (401, GatewayUnavailable),
        (403, GatewayUnavailable),
        (400, GatewayRefused),
        (422, GatewayRefused),
        (302, GatewayRefused),
    ],
)
def test_a_status_is_one_kind_of_error(status: int, kind: type[GatewayError]) -> None:
    with a_client(lambda _: httpx2.Response(status)) as client, pytest.raises(GatewayError) as got:
        client.fail("job", FAILURE)
    assert type(got.value) is kind


@pytest.mark.parametrize("error", [httpx2.ConnectError, httpx2.ReadTimeout, httpx2.ReadError])
def test_a_broken_connection_is_unavailable(error: type[httpx2.TransportError]) -> None:
    def broken(_: httpx2.Request) -> httpx2.Response:
        raise error("with details that may name hosts")

    with a_client(broken) as client, pytest.raises(GatewayUnavailable) as got:
        client.fail("job", FAILURE)
    assert str(got.value) == error.__name__


def test_a_proxys_page_is_unavailable() -> None:
    page = httpx2.Response(200, text="<html>please wait</html>")
    with a_client(lambda _: page) as client, pytest.raises(GatewayUnavailable):
        client.claim(ClaimRequest(pool="p", worker="w"))


def test_an_upload_says_what_it_is(tmp_path: Path) -> None:
    seen: list[httpx2.Request] = []

    def accept(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        request.read()
        return httpx2.Response(204)

    path = tmp_path / "video.mp4"
    path.write_bytes(b"movie")
    artifact = UploadedArtifact(
        role=ArtifactRole.VIDEO, content_type="video/mp4", size_bytes=5, sha256="abc"
    )
    with a_client(accept) as client:
        client.upload(AttemptRef(job_id="j1", attempt=3), artifact, path)

    [request] = seen
    assert request.method == "PUT"
    assert str(request.url) == "http://gateway/worker/v1/jobs/j1/artifacts/video?attempt=3"
    assert request.headers["content-type"] == "video/mp4"
    assert request.headers["x-content-sha256"] == "abc"
    assert request.headers["content-length"] == "5"
    assert request.headers["authorization"] == "Bearer secret"
    assert request.content == b"movie"


def test_an_input_is_stored_as_announced(tmp_path: Path) -> None:
    with a_client(lambda _: httpx2.Response(200, content=b"picture")) as client:
        client.fetch_input(an_input(b"picture"), tmp_path / "in", heed)
    assert (tmp_path / "in").read_bytes() == b"picture"


def test_an_input_that_is_slow_to_come_is_given_up_between_two_pieces(tmp_path: Path) -> None:
    class Enough(Exception):
        pass

    pieces = iter([b"pic", b"tu"])

    def give_up() -> None:
        if not next(pieces, b""):
            raise Enough

    content = (bytes([letter]) for letter in b"picture")
    client = a_client(lambda _: httpx2.Response(200, content=content))
    with client, pytest.raises(Enough):
        client.fetch_input(an_input(b"picture"), tmp_path / "in", give_up)


def test_an_answer_that_a_proxy_garbled_is_asked_for_again() -> None:
    garbled = httpx2.Response(502, stream=httpx2.ByteStream(b"<html>"))
    garbled.headers["content-encoding"] = "gzip"
    with a_client(lambda _: garbled) as client, pytest.raises(GatewayUnavailable):
        client.fail("j1", FAILURE)


def test_a_claim_is_waited_for_longer_than_other_answers() -> None:
    seen: dict[str, float] = {}

    def note(request: httpx2.Request) -> httpx2.Response:
        seen[request.url.path.rpartition("/")[2]] = request.extensions["timeout"]["read"]
        return httpx2.Response(200, json={"jobs": []})

    with a_client(note) as client:
        client.claim(ClaimRequest(pool="p", worker="w"))
        client.fail("j1", FAILURE)
    assert seen["claim"] == 30.0 > seen["fail"]


@pytest.mark.parametrize("sent", [b"pictura", b"picture and more", b""])
def test_an_input_that_differs_is_damaged(tmp_path: Path, sent: bytes) -> None:
    client = a_client(lambda _: httpx2.Response(200, content=sent))
    with client, pytest.raises(InputDamaged):
        client.fetch_input(an_input(b"picture"), tmp_path / "in", heed)


@pytest.mark.parametrize("url", ["http://elsewhere/x", "//elsewhere/x", "x"])
def test_the_token_never_leaves_for_another_host(tmp_path: Path, url: str) -> None:
    def never(_: httpx2.Request) -> httpx2.Response:
        raise AssertionError

    with a_client(never) as client, pytest.raises(GatewayRefused):
        client.fetch_input(an_input(b"", url), tmp_path / "in", heed)


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_dead_link_says_nothing_about_the_attempt(tmp_path: Path, status: int) -> None:
    client = a_client(lambda _: httpx2.Response(status))
    with client, pytest.raises(GatewayRefused):
        client.fetch_input(an_input(b""), tmp_path / "in", heed)
