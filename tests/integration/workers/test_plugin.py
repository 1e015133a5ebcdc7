"""The package on the page about models, built, installed and rendered with, as the page says."""

import io
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest

from gateway.protocol import ArtifactRole
from models.card import ModelCard
from models.pipeline import LoadFailed
from models.registry import create_pipeline
from tests.conftest import ROOT
from tests.integration.workers.conftest import MakeJob, StartWorker
from tests.integration.workers.harness.gateway import ScriptedGateway
from tests.integration.workers.harness.polling import wait_until
from tests.integration.workers.harness.processes import Valkey
from tests.unit.workers.test_shelf import make_card

PAGE = ROOT / "docs" / "10-models.md"
MAX_PYTHON_LINES = 100
MAX_CARDS = 1


def blocks() -> dict[str, str]:
    """The first block of each language on the page."""
    found = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return dict(reversed(found))


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with the package installed; nothing is fetched, not even to build it."""
    source, site = tmp_path / "source", tmp_path / "site"
    source.mkdir()
    (source / "pyproject.toml").write_text(blocks()["toml"])
    (source / "reelgate_plasma.py").write_text(blocks()["python"])
    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", *offline, "--target", site, source],
        check=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    return site


def test_a_model_is_one_card_and_a_hundred_lines() -> None:
    assert len(blocks()["python"].splitlines()) <= MAX_PYTHON_LINES
    assert blocks()["yaml"].count("- id:") == MAX_CARDS


def test_a_package_brings_a_renderer(
    site: Path,
    valkey: Valkey,
    gateway: ScriptedGateway,
    start_worker: StartWorker,
    make_job: MakeJob,
    tmp_path: Path,
) -> None:
    (tmp_path / "models.yaml").write_text(blocks()["yaml"])
    start_worker(path=site)
    jobs = [make_job(model="plasma", seed=seed) for seed in (1, 2, 1)]
    for job in jobs:
        valkey.ring()
        wait_until(partial(gateway.completed.get, job.job_id))

    one, two, again = (
        frames_of(gateway.uploads[job.job_id, 1, ArtifactRole.VIDEO]) for job in jobs
    )
    assert one.shape == (5, 64, 64, 3)
    assert one.std() > 5, "there is something to see"
    # In pictures this small x264 weighs macroblocks by memory that nobody wrote: equal frames were
    # seen 1.1 levels apart, those of another seed 52.
    assert np.abs(one - again).mean() < 3
    assert np.abs(one - two).mean() > 20
    assert gateway.completed[jobs[0].job_id].rendered.label["ProduceID"] == jobs[0].job_id


def frames_of(video: bytes) -> np.ndarray:
    with av.open(io.BytesIO(video), "r") as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return np.stack(frames).astype(int)


def card_with(adapter: str) -> ModelCard:
    return ModelCard.model_validate({**make_card().model_dump(), "adapter": adapter})


def test_a_name_nobody_brought_is_refused_by_name() -> None:
    with pytest.raises(
        LoadFailed, match=r"no adapter plasma is installed; there are .*, remote, .*, wan, or write"
    ):
        create_pipeline(card_with("plasma"))


def test_a_class_that_is_not_there_is_refused() -> None:
    with pytest.raises(LoadFailed, match=r"adapter models\.nowhere:X is not usable"):
        create_pipeline(card_with("models.nowhere:X"))


def test_a_plug_in_cannot_take_a_name_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "thief-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: thief\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[reelgate.adapters]\nremote = thief:Thief\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    pipeline = create_pipeline(card_with("remote"))
    assert type(pipeline).__module__ == "models.adapters.remote"
