"""kill -9 of any part in the middle of a job: it is done in the end, once, and paid once."""

import contextlib
import os
import signal
from collections.abc import Iterator

import pytest
from openai import OpenAI

from gateway.local.stack import LocalStack
from tests.support.stack import is_over, pid_of, roomy_configs, running_stack, sdk_of, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A system that notices a lost worker within seconds."""
    with pytest.MonkeyPatch.context() as environment:
        folder = tmp_path_factory.mktemp("stack")
        environment.setenv("REELGATE_CONFIG_DIR", str(roomy_configs(folder / "configs")))
        environment.setenv("REELGATE_LEASE_S", "4")
        environment.setenv("REELGATE_HEARTBEAT_S", "0.5")
        environment.setenv("REELGATE_REAP_EVERY_S", "0.5")
        with running_stack(folder / "data") as running:
            yield running


@pytest.fixture
def client(stack: LocalStack) -> Iterator[OpenAI]:
    """The SDK; its own retries carry it over a gateway that is away for a moment."""
    with sdk_of(stack) as sdk:
        yield sdk.with_options(max_retries=20)


@pytest.mark.parametrize("victim", ["child", "worker", "gateway", "valkey"])
def test_a_job_outlives_the_death_of(victim: str, stack: LocalStack, client: OpenAI) -> None:
    video = client.videos.create(
        prompt="a red circle moving right on a black background",
        extra_body={"seed": 7, "mode": "pro"},
    )
    wait_for(client, video.id, lambda seen: seen.status == "in_progress")
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid_of(stack, victim), signal.SIGKILL)

    ended = wait_for(client, video.id, is_over)
    assert ended.status == "completed", ended.error
    extra = ended.model_extra or {}
    assert extra["usage"] == {**extra["usage"], "points_held": 0, "points_charged": 20}
    assert client.videos.download_content(video.id).read()[4:8] == b"ftyp"


def test_a_job_outlives_all_of_them_at_once(stack: LocalStack, client: OpenAI) -> None:
    video = client.videos.create(prompt="a blue square growing on a white background")
    for victim in ("worker", "valkey", "gateway"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid_of(stack, victim), signal.SIGKILL)
    assert wait_for(client, video.id, is_over).status == "completed"
