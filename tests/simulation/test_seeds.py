"""Two thousand lives of a gateway, and that they met what they were made for.

A failure names its seed; `./run test tests/simulation --seed N` lives it again and prints its log.
"""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.simulation.run import Story, run_seed

ROOT = Path(__file__).parents[2]
SEEDS_A_CHUNK, NUM_CHUNKS, NUM_HALVES = 100, 20, 2
SITUATIONS = {
    "batch",
    "batch with one cancel",
    "bus away",
    "bus wiped",
    "canceled while queued",
    "canceled while running",
    "deleted",
    "delivery delayed",
    "delivery doubled",
    "delivery lost",
    "expired lease",
    "gateway killed after a commit",
    "gateway killed after a put",
    "gateway killed before a commit",
    "gateway killed before the ring",
    "gateway killed before the store",
    "late render counted",
    "lost delivery rung again",
    "midnight passed",
    "out of memory",
    "plan changed",
    "poisoned job failed",
    "refund into an expired lot",
    "replay",
    "reply lost",
    "stale report refused",
    "store fails",
    "store slow",
    "swap",
    "third attempt failed",
    "worker drained",
    "worker dies",
    "worker shut down",
    "zombie reported",
}


@cache
def run_chunk(number: int) -> list[Story]:
    """The stories of a hundred seeds, without their logs."""
    first = number * SEEDS_A_CHUNK
    return [run_seed(seed).in_short() for seed in range(first, first + SEEDS_A_CHUNK)]


def of_half(number: int) -> pytest.MarkDecorator:
    """Two processes that share the work take a half each."""
    return pytest.mark.xdist_group(f"simulation {number % NUM_HALVES}")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "number", [pytest.param(number, marks=of_half(number)) for number in range(NUM_CHUNKS)]
)
def test_no_mishap_breaks_a_promise(number: int) -> None:
    failed = [
        f"seed {story.seed} failed: {story.failure}; "
        f"replay: ./run test tests/simulation --seed {story.seed}"
        for story in run_chunk(number)
        if story.failure
    ]
    assert not failed, "\n".join(failed)


@pytest.mark.slow
@pytest.mark.timeout(1800)  # it may be the first to ask for the chunks
@pytest.mark.parametrize(
    "half", [pytest.param(half, marks=of_half(half)) for half in range(NUM_HALVES)]
)
def test_every_half_of_the_seeds_met_every_situation(half: int) -> None:
    stories = [
        story for number in range(half, NUM_CHUNKS, NUM_HALVES) for story in run_chunk(number)
    ]
    reached = {situation for story in stories for situation in story.reached}
    assert reached >= SITUATIONS, SITUATIONS - reached


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_a_seed_decides_everything(seed: int) -> None:
    assert run_seed(seed).hash == run_seed(seed).hash != run_seed(seed + 1).hash


def test_a_seed_is_the_same_in_another_process() -> None:
    """What Python hashes by chance decides nothing."""
    code = "from tests.simulation.run import run_seed; print(run_seed(5).hash)"
    hashes = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": chance},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for chance in ("1", "2")
    }
    assert hashes == {run_seed(5).hash + "\n"}


def test_one_seed(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> None:
    """The seed of `--seed`, told aloud."""
    story = run_seed(request.config.getoption("--seed"))
    with capsys.disabled():
        sys.stdout.write("\n".join(["", *story.lines[:-1], ""]))
    assert story.failure is None
