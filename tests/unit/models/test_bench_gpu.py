"""`./run bench gpu` without a GPU: the dry run goes all the way, and the models are real."""

import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import WanTransformer3DModel
from transformers import UMT5Config, UMT5EncoderModel
from typing_extensions import override

from tests.bench.gpu.__main__ import NO_DEVICE, main
from tests.bench.gpu.architectures import TINY_21, WAN_21_1B3, WAN_22_5B, built
from tests.bench.gpu.blocks import LTX2, build_blocks
from tests.bench.gpu.measure import Figures, flop_of
from tests.bench.gpu.report import peer_lines
from tests.bench.gpu.workloads import FULL, list_profiles

ROOT = Path(__file__).parents[3]
ROW = re.compile(
    r"  (\S.*?) +([\d.]+) +([\d.]+) +([\d.]+) +x[\d.]+ +- +\S+ +[\d.]+%  first call .*"
)


def test_the_dry_run_measures_every_profile() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.gpu", "--dry", "--only", "tiny-2.2"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    rows = {found[1]: float(found[4]) for line in lines if (found := ROW.fullmatch(line))}
    assert [*rows] == ["plain diffusers", *(profile.name for profile in list_profiles(6))]
    assert all(clip_s > 0 for clip_s in rows.values())
    taylor = next(line for line in lines if "taylor" in line)
    assert taylor.endswith("40% of calls skipped")
    assert "figures of nothing" in lines[0]
    assert lines[-1].startswith("gpu: 0 profiles failed")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a device")
def test_without_a_device_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == NO_DEVICE
    assert capsys.readouterr().out.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--only", "film"], "--only must be one of wan2.1-1.3b, "),
        (["--rounds", "0"], "--rounds must be 1 or more, not 0"),
        (["--steps", "1"], "--steps must be 4 to 100, not 1"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    words: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(words)
    assert named in capsys.readouterr().err


@pytest.mark.parametrize(
    ("make", "billions"),
    [
        (partial(WanTransformer3DModel, **WAN_21_1B3.transformer), 1.42),
        (partial(WanTransformer3DModel, **WAN_22_5B.transformer), 5.00),
        (
            lambda: UMT5EncoderModel(
                UMT5Config(**WAN_22_5B.text_encoder, feed_forward_proj="gated-gelu")
            ),
            5.68,
        ),
    ],
    ids=["wan2.1-1.3b", "wan2.2-ti2v-5b", "umt5-xxl"],
)
def test_models_have_their_published_size(make: Callable[[], Any], billions: float) -> None:
    found = sum(weight.numel() for weight in built(make, torch.bfloat16, "meta").parameters())
    assert found / 1e9 == pytest.approx(billions, abs=0.006)


def test_ltx_2_has_its_published_size() -> None:
    whole = build_blocks(LTX2, "meta")[0].transformer
    found = sum(weight.numel() for weight in whole.parameters())
    assert found / 1e9 == pytest.approx(18.9, abs=0.06)


def test_precisions_are_those_of_a_loaded_checkpoint(tmp_path: Path) -> None:
    def dtypes(module: torch.nn.Module) -> dict[str, torch.dtype]:
        return {name: tensor.dtype for name, tensor in module.state_dict().items()}

    make = partial(WanTransformer3DModel, **TINY_21.transformer)
    make().save_pretrained(tmp_path)
    loaded = WanTransformer3DModel.from_pretrained(
        tmp_path, dtype=torch.bfloat16, local_files_only=True
    )
    ours = dtypes(built(make, torch.bfloat16, "cpu"))
    assert ours == dtypes(loaded)
    assert set(ours.values()) == {torch.bfloat16, torch.float32}


def test_operations_are_products_and_attention() -> None:
    width, heads, tokens, words = 48, 2, 24, 10
    linear = torch.nn.Linear(width, width)

    class Attends(torch.nn.Module):
        @override
        def forward(self, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
            rows = linear(query).view(1, tokens, heads, -1).transpose(1, 2)
            columns = key.view(1, words, heads, -1).transpose(1, 2)
            return torch.nn.functional.scaled_dot_product_attention(rows, columns, columns)

    given = {"query": torch.randn(1, tokens, width), "key": torch.randn(1, words, width)}
    assert flop_of(Attends(), given) == 2 * tokens * width**2 + 4 * tokens * words * width


def test_published_figures_stand_beside_the_quickest_of_ours() -> None:
    slow, quick = (Figures(1.0, 1.0, clip_s, None, 1.0, 0.0, 1.0) for clip_s in (60.0, 42.5))
    lines = peer_lines(FULL[0].peers, {"as plain": slow, "compiled": quick})
    assert len(lines) == len(FULL[0].peers) + 1
    assert re.search(r"LightX2V +58\.00  1 H200, FlashAttention 3 \(LightX2V docs/", lines[0])
    assert re.fullmatch(r"  ours, every step +42\.50  compiled", lines[-1])
