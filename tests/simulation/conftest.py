"""With `--seed` one seed is replayed, and nothing else of the simulation runs."""

import pytest

REPLAY = "test_one_seed"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The replay takes part if a seed is named, the rest if not."""
    is_replay = config.getoption("--seed") is not None
    here = __file__.rpartition("/")[0]
    items[:] = [
        item
        for item in items
        if not str(item.path).startswith(here) or (item.name == REPLAY) == is_replay
    ]
