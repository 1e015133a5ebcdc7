"""The system that this tutorial runs on: real parts, the small model, one account."""

from collections.abc import Iterator

import pytest
from openai import OpenAI

from gateway.local.stack import LocalStack
from tests.support.stack import roomy_configs, running_stack, sdk_of


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Gateway, Valkey and one worker, as `./run up` starts them.

    Per module: its variables must not reach tests that build settings of their own.
    """
    folder = tmp_path_factory.mktemp("stack")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("REELGATE_CONFIG_DIR", str(roomy_configs(folder / "configs")))
        with running_stack(folder / "data") as running:
            yield running


@pytest.fixture
def client(stack: LocalStack) -> Iterator[OpenAI]:
    """The official SDK with the account's key."""
    with sdk_of(stack) as sdk:
        yield sdk
