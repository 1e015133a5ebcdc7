"""`./run bench gpu`: open models in full size on one GPU, our ways beside plain diffusers."""

import argparse
import gc
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import diffusers
import structlog
import torch

from models.adapters.wan import WanAdapter
from models.pipeline import PipelineError
from tests.bench.gpu.architectures import build_wan
from tests.bench.gpu.blocks import (
    LTX2,
    NUM_PASSES,
    PLAIN_PASSES,
    TINY,
    Blocks,
    build_blocks,
    flop_of_pass,
    list_block_profiles,
    pass_render,
)
from tests.bench.gpu.measure import (
    Figures,
    count_flop,
    measure,
    measure_ceiling,
    our_render,
    plain_render,
)
from tests.bench.gpu.report import HEAD, peer_lines, row
from tests.bench.gpu.workloads import DRY, FULL, Peer, Profile, Workload, list_profiles
from tests.bench.ledger.machine import describe_machine

NO_DEVICE = 2
FEWEST_STEPS, MOST_STEPS = 4, 100
NOTHING = "dry run: tiny models on the CPU, nothing compiled; these are figures of nothing"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0, or 1 where a profile failed, or 2 without a device."""
    options = _parse(arguments)
    device = "cpu" if options.dry else "cuda:0"
    if not options.dry and not torch.cuda.is_available():
        _print("gpu: PyTorch sees no CUDA device here; --dry goes the same way on the CPU.")
        return NO_DEVICE
    if options.dry:
        _print(NOTHING)
    _print(_describe(device))
    ceiling = measure_ceiling(device, 256 if options.dry else 8192)
    _print(f"ceiling: {ceiling / 1e12:.3g} TFLOP/s, products of large bfloat16 matrices")
    num_failed = 0
    for workload in _choose(options):
        if isinstance(workload, Blocks):
            table = _blocks_table(workload, device, options.rounds)
        else:
            table = _clip_table(workload, device, options.rounds)
        num_failed += _print_table(table, ceiling)
        # What is compiled remembers whose blocks it was compiled for.
        del table
        torch.compiler.reset()
        gc.collect()
        torch.cuda.empty_cache()
    _print(f"\ngpu: {num_failed} profiles failed" + (f"; {NOTHING}" if options.dry else ""))
    return 1 if num_failed else 0


@dataclass(frozen=True)
class Table:
    """What is measured under one title: plain first, then way after way.

    `comparable`: which ways compute all that the peers do.
    """

    title: str
    peers: tuple[Peer, ...]
    profiles: list[Profile]
    comparable: frozenset[str]
    measure_plain: Callable[[], Figures]
    measure_ours: Callable[[Profile], Figures]


def _clip_table(workload: Workload, device: str, rounds: int) -> Table:
    pipe = build_wan(workload.architecture, device)
    profiles = list_profiles(workload.num_steps)
    plain = plain_render(pipe, workload, device)
    flop = count_flop(pipe, plain, device)

    def measure_ours(profile: Profile) -> Figures:
        card = workload.card(profile)
        adapter = WanAdapter()
        adapter.adopt(card, pipe, device)
        flop_of_step = flop if profile.mode.is_unguided else 2 * flop
        render = our_render(adapter, card, profile)
        return measure(pipe, render, profile, flop_of_step, device, rounds)

    return Table(
        workload.title,
        workload.peers,
        profiles,
        frozenset(each.name for each in profiles if each.is_whole),
        lambda: measure(pipe, plain, profiles[0], 2 * flop, device, rounds),
        measure_ours,
    )


def _blocks_table(blocks: Blocks, device: str, rounds: int) -> Table:
    pipe, num_layers, num_all = build_blocks(blocks, device)
    flop = flop_of_pass(pipe, blocks, device)

    def measure_ours(profile: Profile) -> Figures:
        render = pass_render(pipe, blocks, profile, device)
        return measure(pipe, render, profile, flop, device, rounds)

    profiles = list_block_profiles()
    return Table(
        f"{blocks.name}: {num_layers} of {num_all} blocks; a clip is {NUM_PASSES} passes, "
        "no prompt read, nothing decoded",
        blocks.peers,
        profiles,
        frozenset(each.name for each in profiles),
        lambda: measure_ours(PLAIN_PASSES),
        measure_ours,
    )


def _print_table(table: Table, ceiling: float) -> int:
    """Measure row after row; how many profiles failed."""
    _print(f"\n{table.title}\n{HEAD}")
    plain = table.measure_plain()
    _print(row("plain diffusers", plain, plain, ceiling))
    found: dict[str, Figures] = {}
    for profile in table.profiles:
        try:
            figures = table.measure_ours(profile)
        except (RuntimeError, ValueError, ImportError, PipelineError) as error:
            # What one profile cannot do here says nothing about the next.
            reason = next(iter(str(error).strip().splitlines()), "")
            _print(f"  {profile.name:24} failed: {type(error).__name__}: {reason[:120]}")
            continue
        found[profile.name] = figures
        _print(row(profile.name, figures, plain, ceiling))
    whole = {name: figures for name, figures in found.items() if name in table.comparable}
    _print("\n".join(peer_lines(table.peers, whole)))
    return len(table.profiles) - len(found)


def _choose(options: argparse.Namespace) -> list[Workload | Blocks]:
    chosen = [each for each in _workloads(options) if options.only in (None, each.name)]
    if options.steps is None:
        return chosen
    return [
        each if isinstance(each, Blocks) else replace(each, num_steps=options.steps)
        for each in chosen
    ]


def _workloads(options: argparse.Namespace) -> tuple[Workload | Blocks, ...]:
    return (*DRY, TINY) if options.dry else (*FULL, LTX2)


def _describe(device: str) -> str:
    what = [f"PyTorch {torch.__version__}, diffusers {diffusers.__version__}"]
    if device != "cpu":
        free, total = (size / 2**30 for size in torch.cuda.mem_get_info(device))
        what.append(f"{torch.cuda.get_device_name(device)}, {free:.0f} of {total:.0f} GiB free")
    return "\n".join([describe_machine().as_text(), *what])


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./run bench gpu", description=__doc__)
    parser.add_argument("--dry", action="store_true", help="the same way on the CPU, tiny models")
    parser.add_argument("--only", metavar="NAME", help="this clip alone, by the name in the table")
    parser.add_argument("--rounds", type=int, default=1, help="how often each way is timed")
    parser.add_argument("--steps", type=int, help="denoising steps instead of the models' own")
    options = parser.parse_args(arguments)
    names = [each.name for each in _workloads(options)]
    if options.only not in (None, *names):
        parser.error(f"--only must be one of {', '.join(names)}, not {options.only}")
    if options.rounds < 1:
        parser.error(f"--rounds must be 1 or more, not {options.rounds}")
    if options.steps is not None and not FEWEST_STEPS <= options.steps <= MOST_STEPS:
        parser.error(f"--steps must be {FEWEST_STEPS} to {MOST_STEPS}, not {options.steps}")
    return options


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    sys.exit(main())
