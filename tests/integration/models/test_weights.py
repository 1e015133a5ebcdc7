"""Weights from set-up to a job: pulled from a hub played on this machine, verified, loaded offline.

`reelgate models` runs as a process, with `HF_ENDPOINT` where the played hub is.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from models.card import ModelCard
from models.catalog import load_catalog
from models.hub import OFFLINE
from models.pipeline import LoadFailed
from models.registry import create_pipeline
from models.weights import MANIFEST_FILE, find_problem
from tests.conftest import ROOT
from tests.integration.workers.harness.gateway import TOKEN, ScriptedGateway
from tests.integration.workers.harness.polling import wait_until
from tests.integration.workers.harness.processes import WorkerProcess
from tests.support.hub import REVISION, Hub
from tests.support.serving import serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

TINY = ROOT / "models" / "tiny" / "checkpoint"
Reelgate = Callable[..., subprocess.CompletedProcess[str]]

NO_SOCKETS = """
import sys
def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        print("SOCKET", event, arguments[1:], flush=True)
        raise OSError("no sockets here")
sys.addaudithook(refuse)
from pathlib import Path
from models.catalog import load_catalog
from models.hub import shut_hub
from workers.selftest import run_self_test
from workers.shelf import Shelf
shut_hub()
card = load_catalog(Path("models.yaml")).default
run_self_test(Shelf("cpu", 0).load(card), card)
print("RENDERED")
"""


@pytest.fixture(scope="module")
def hub() -> Iterator[tuple[Hub, str]]:
    """A hub with the shipped model, and a pickle beside it; its URL."""
    files = {
        str(path.relative_to(TINY)): path.read_bytes() for path in TINY.rglob("*") if path.is_file()
    }
    played = Hub("reelgate/reel-tiny", {**files, "vae/diffusion_pytorch_model.bin": b"a pickle"})
    with serving(played.app()) as url:
        yield played, url


@pytest.fixture
def config_dir(tmp_path: Path) -> Path:
    """The shipped model's card, with a hub in place of its folder."""
    card = load_catalog(ROOT / "configs" / "models.yaml").default.model_dump(mode="json")
    card |= {
        "id": "pulled",
        "checkpoint": "",
        "source": {"repository": "reelgate/reel-tiny", "revision": REVISION},
        "licence_limits": "research only",
    }
    (tmp_path / "models.yaml").write_text(json.dumps({"models": [card]}))
    return tmp_path


@pytest.fixture
def reelgate(tmp_path: Path, config_dir: Path, hub: tuple[Hub, str]) -> Reelgate:
    """Runs `reelgate models ...` as an operator does."""
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "REELGATE_CONFIG_DIR": str(config_dir),
        "REELGATE_MODELS_DIR": str(tmp_path / "weights"),
        "HF_ENDPOINT": hub[1],
        "HF_HOME": str(tmp_path / "hf"),
        "COLUMNS": "200",
    }
    for name in OFFLINE:
        env.pop(name, None)

    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from models.weights.cli import app; app()", *arguments]
        return subprocess.run(
            command, env=env | more, capture_output=True, text=True, check=False, cwd=tmp_path
        )

    return run


@pytest.fixture
def card(config_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelCard:
    monkeypatch.setenv("REELGATE_MODELS_DIR", str(tmp_path / "weights"))
    return load_catalog(config_dir / "models.yaml").default


def test_from_the_hub_to_a_job_without_a_socket(
    reelgate: Reelgate, card: ModelCard, config_dir: Path, hub: tuple[Hub, str]
) -> None:
    with pytest.raises(LoadFailed, match="run `reelgate models pull pulled`"):
        create_pipeline(card)
    assert "research only" in reelgate("list").stdout
    assert reelgate("list").stdout.rstrip().splitlines()[-2].split("│")[-2].strip() == "no"

    pulled = reelgate("pull", "pulled")
    assert pulled.returncode == 0, pulled.stderr
    assert "note: pulled is Apache-2.0: research only" in pulled.stdout
    folder = card.checkpoint_path(Path.cwd())
    assert (folder / "model_index.json").read_bytes() == (TINY / "model_index.json").read_bytes()
    assert not list(folder.rglob("*.bin")), "pickles stay on the hub"
    assert find_problem(card) is None

    num_fetched = len(hub[0].fetched)
    assert reelgate("pull").returncode == 0
    assert len(hub[0].fetched) == num_fetched, "what is right is not fetched again"
    assert reelgate("verify").stdout.startswith("pulled: ")
    assert reelgate("list").stdout.rstrip().splitlines()[-2].split("│")[-2].strip() == "yes"

    done = subprocess.run(
        [sys.executable, "-c", NO_SOCKETS],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        cwd=config_dir,
    )
    assert "SOCKET" not in done.stdout
    assert "RENDERED" in done.stdout, done.stderr


@pytest.mark.parametrize("harm", ["change", "cut", "remove", "add"])
def test_verify_names_the_file_that_is_wrong(
    harm: str, reelgate: Reelgate, card: ModelCard
) -> None:
    assert reelgate("pull").returncode == 0
    folder = card.checkpoint_path(Path.cwd())
    victim = folder / "vae" / "diffusion_pytorch_model.safetensors"
    data = victim.read_bytes()
    match harm:
        case "change":
            victim.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        case "cut":
            victim.write_bytes(data[:-1])
        case "remove":
            victim.unlink()
        case _:
            victim = folder / "vae" / "extra.safetensors"
            victim.write_bytes(b"")
    checked = reelgate("verify")
    assert checked.returncode == 1
    assert [str(victim) in line for line in checked.stderr.splitlines()] == [True, False]
    seen_at_once = harm in ("cut", "remove")
    assert (find_problem(card) is not None) == seen_at_once, "sizes are compared, contents not"

    assert reelgate("pull").returncode == 0
    assert reelgate("verify").returncode == 0


def test_a_pull_leaves_what_modes_of_the_card_name(
    reelgate: Reelgate, card: ModelCard, config_dir: Path
) -> None:
    fields = json.loads((config_dir / "models.yaml").read_text())["models"][0]
    fields["modes"]["fine"] = {"num_inference_steps": 8, "lora": "lora/fine.safetensors"}
    (config_dir / "models.yaml").write_text(json.dumps({"models": [fields]}))
    assert reelgate("pull").returncode == 0
    folder = card.checkpoint_path(Path.cwd())
    own = folder / "lora" / "fine.safetensors"
    own.parent.mkdir()
    own.write_bytes(b"the operator's own")
    assert reelgate("verify").returncode == 0
    next(folder.glob("vae/*.safetensors")).unlink()
    assert reelgate("pull").returncode == 0
    assert own.read_bytes() == b"the operator's own"
    assert reelgate("verify").returncode == 0


def test_a_worker_is_not_ready_without_the_weights_and_says_which(
    reelgate: Reelgate, config_dir: Path, tmp_path: Path
) -> None:
    gateway = ScriptedGateway()
    gateway.start()
    worker = WorkerProcess(
        {
            "REELGATE_GATEWAY_URL": gateway.url,
            "REELGATE_WORKER_TOKEN": TOKEN,
            "REELGATE_REDIS_URL": "redis://127.0.0.1:9/0",
            "REELGATE_CONFIG_DIR": str(config_dir),
            "REELGATE_SPOOL_DIR": str(tmp_path / "spool"),
            "REELGATE_MODELS_DIR": str(tmp_path / "weights"),
        },
        tmp_path / "worker.log",
    )
    try:
        unfit = tmp_path / "spool" / "unfit"
        wait_until(unfit.exists)
        assert "model pulled: " in unfit.read_text()
        assert "run `reelgate models pull pulled`" in unfit.read_text()
        assert "child_started" not in worker.events
        assert reelgate("pull").returncode == 0
        wait_until(lambda: "worker_ready" in worker.events, within_s=200)
        assert not unfit.exists()
    finally:
        worker.kill()
        gateway.stop()


def test_a_pull_that_fails_says_what_to_do(
    reelgate: Reelgate, config_dir: Path, hub: tuple[Hub, str], tmp_path: Path
) -> None:
    offline = reelgate("pull", HF_HUB_OFFLINE="1")
    assert offline.returncode == 1
    assert "HF_HUB_OFFLINE is set" in offline.stderr
    away = reelgate("pull", HF_ENDPOINT="http://127.0.0.1:9")
    assert away.returncode == 1
    assert "Check id and revision, the network" in away.stderr
    hub[0].is_gated = True
    try:
        gated = reelgate("pull")
    finally:
        hub[0].is_gated = False
    assert gated.returncode == 1
    assert "HF_TOKEN" in gated.stderr
    assert reelgate("pull", "reel-tiny").returncode == 2
    text = (config_dir / "models.yaml").read_text()
    (config_dir / "models.yaml").write_text(text.replace(REVISION, "f" * 40))
    missing = reelgate("pull")
    assert missing.returncode == 1
    assert "reelgate/reel-tiny ffffffffffff could not be pulled" in missing.stderr
    assert not list((tmp_path / "weights").glob("*ffff*/" + MANIFEST_FILE))
