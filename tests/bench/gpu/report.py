"""The table: a row for each way of sampling, and what others have published below it."""

from collections.abc import Mapping, Sequence

from tests.bench.gpu.measure import Figures
from tests.bench.gpu.workloads import Peer

HEAD = (
    f"  {'':24} {'s/step':>8} {'decode s':>9} {'s/clip':>8} {'to plain':>9} {'peak GiB':>9} "
    f"{'TFLOP/s':>8} {'ceiling':>8}"
)


def row(name: str, figures: Figures, plain: Figures, ceiling: float) -> str:
    """One line; `to plain` is how many times faster a clip is, `ceiling` the share of it."""
    peak = "-" if figures.peak_bytes is None else f"{figures.peak_bytes / 2**30:.1f}"
    skipped = f"; {figures.skipped:.0%} of calls skipped" if figures.skipped else ""
    return (
        f"  {name:24} {figures.step_s:8.3f} {figures.decode_s:9.3f} {figures.clip_s:8.2f} "
        f"{f'x{plain.clip_s / figures.clip_s:.2f}':>9} {peak:>9} "
        f"{figures.flop_per_s / 1e12:8.3g} {figures.flop_per_s / ceiling:8.1%}  "
        f"first call {figures.warm_up_s:.1f} s{skipped}"
    )


def peer_lines(peers: Sequence[Peer], ours: Mapping[str, Figures]) -> list[str]:
    """What others say of the same clip, and the quickest of `ours` beside it."""
    if not peers:
        return ["  published by others: nothing for this clip on one such card"]
    told = [
        (f"published: {peer.who}", peer.clip_s, ", ".join(filter(None, (peer.hardware, peer.how))))
        for peer in peers
    ]
    sources = [f" ({peer.source})" for peer in peers]
    if ours:
        best = min(ours, key=lambda name: ours[name].clip_s)
        told.append(("ours, every step", ours[best].clip_s, best))
        sources.append("")
    return [
        f"  {name:24} {'':8} {'':9} {clip_s:8.2f}  {note}{source}"
        for (name, clip_s, note), source in zip(told, sources, strict=True)
    ]
