"""Weights of single modes count where it is decided what waits in host memory."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from models.adapters import placement
from models.adapters.common import weight_bytes
from models.adapters.placement import Offload, choose_placement
from models.adapters.wan import WanAdapter
from models.card import ModelCard
from models.pipeline import LoadFailed
from tests.support.checkpoints.wan import save_ti2v

MakeCard = Callable[..., ModelCard]
MODES = {"standard": 8, "fast": {"num_inference_steps": 4, "distilled": "fast"}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint with a second transformer in `fast`."""
    save_ti2v(tmp_path)
    shutil.copytree(tmp_path / "transformer", tmp_path / "fast" / "transformer")
    return tmp_path


@pytest.mark.parametrize(
    ("free_bytes", "offload", "reason"),
    [
        (150, Offload.NONE, "all weights, 60 bytes and 40 of single modes, fit into 105"),
        (
            120,
            Offload.MODEL,
            (
                "60 bytes and 40 of single modes do not fit into 84; "
                "transformer, 40 and 40 of single modes, does"
            ),
        ),
        (
            100,
            Offload.GROUP,
            "transformer alone, 40 bytes and 40 of single modes, does not fit into 70",
        ),
    ],
)
def test_what_lies_on_the_device_anyway_leaves_less_room(
    free_bytes: int, offload: Offload, reason: str
) -> None:
    placed = choose_placement({"transformer": 40, "text_encoder": 20}, free_bytes, 40)
    assert (placed.offload, placed.reason) == (offload, reason)


def load(folder: Path, make_card: MakeCard, **changes: object) -> tuple[WanAdapter, str, int]:
    """The renderer, why its weights lie where they do, and the bytes that the log says."""
    adapter = WanAdapter()
    with capture_logs() as logs:
        adapter.load(make_card(checkpoint=str(folder), **changes), "cpu")
    [said] = [line for line in logs if line["event"] == "weights_placed"]
    return adapter, said["reason"], said["needed_bytes"]


def test_both_transformers_are_counted_and_the_log_says_so(
    folder: Path, make_card: MakeCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, _, _ = load(folder, make_card)
    one = plain.memory_bytes
    [transformer] = plain.transformers
    second = weight_bytes([transformer])
    # Room for the model, and not quite for what the mode brings.
    free = int((one + second / 2) / 0.7)
    monkeypatch.setattr(placement, "find_room", lambda *_: free)
    _, reason, needed = load(folder, make_card)
    assert (reason, needed) == (f"all weights, {one} bytes, fit into {int(free * 0.7)}", one)
    with pytest.raises(LoadFailed, match="distilled weights need all on the device, offload"):
        load(folder, make_card, modes=MODES)
    free = int((one + second) / 0.7) + 2
    both, reason, needed = load(folder, make_card, modes=MODES)
    assert reason.startswith(f"all weights, {one} bytes and {second} of single modes, fit into")
    assert both.memory_bytes == needed == one + second


def test_too_little_room_for_both_is_named_with_the_bytes_of_both(
    folder: Path, make_card: MakeCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, _, _ = load(folder, make_card)
    one = plain.memory_bytes
    second = weight_bytes(plain.transformers)
    monkeypatch.setattr(placement, "find_room", lambda *_: one + second - 1)
    with pytest.raises(LoadFailed, match=rf"need {one + second} bytes on cpu, {one + second - 1}"):
        load(folder, make_card, modes=MODES, options={"offload": "none"})
