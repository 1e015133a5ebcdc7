"""`./run bench avatar`: what a minute costs; `--lipsync`, `--feelings`: whether it is alive."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from models.avatar.faces import Faces
from models.avatar.portrait import read_picture
from models.card import ModelCard
from models.catalog import load_catalog
from tests.bench.avatar import feelings, lipsync
from tests.bench.avatar.inputs import portraits
from tests.bench.avatar.sheets import near, save_sheets
from tests.bench.avatar.speed import HEAD, PROTOTYPE, cases, measure_speed, misses
from tests.bench.ledger.machine import describe_machine

CONFIG = Path(__file__).parents[3] / "configs" / "models.yaml"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and answer 0 where every limit is kept."""
    options = _parse(arguments)
    card = next(card for card in load_catalog(CONFIG).models if card.id == "reel-avatar")
    _print(describe_machine().as_text())
    with tempfile.TemporaryDirectory(prefix="reelgate-bench-") as folder:
        if options.lipsync:
            wrong = _lipsync(card, Path(folder))
        elif options.feelings:
            wrong = _feelings(Path(folder), options.sheets)
        else:
            wrong = _speed(card, Path(folder), quick=options.quick)
    _print(describe_machine().as_text().replace("before the run", "after it"))
    for miss in wrong:
        _print(f"FAIL {miss}")
    _print(f"avatar: {'FAIL' if wrong else 'PASS'}")
    return 1 if wrong else 0


def _speed(card: ModelCard, folder: Path, *, quick: bool) -> list[str]:
    _print(HEAD)
    found = []
    for case in cases(folder, quick=quick):
        found.append(measure_speed(card, folder, case))
        _print("\n".join(found[-1].lines()))
    _print(PROTOTYPE)
    return misses(found)


def _lipsync(card: ModelCard, folder: Path) -> list[str]:
    _print(lipsync.HEAD)
    stage, found = lipsync.Stage(card, folder), []
    for clip in stage.clips():
        found.append(stage.measure(*clip))
        _print(found[-1].line())
    closed = lipsync.closed_in_all(found)
    _print(f"{closed:.0%} of all {sum(clip.num_closures for clip in found)} closures")
    return lipsync.misses(found)


def _feelings(folder: Path, sheets: Path | None) -> list[str]:
    faces, wrong = Faces.fetched(), []
    pictures = portraits(folder)
    _print(feelings.HEAD)
    for name, path in pictures.items():
        draw = near(read_picture(path), faces)
        for feeling in feelings.SIGNS:
            shown = feelings.measure_feeling(name, feeling, draw, faces)
            _print(shown.line())
            wrong += [] if shown.is_clear else [f"{shown.name}: {shown.sign} hardly shows"]
    if sheets is not None:
        sheets.mkdir(parents=True, exist_ok=True)
        _print("\n".join(map(str, save_sheets(pictures, sheets))))
    return wrong


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./run bench avatar", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="clips of 5 s")
    parser.add_argument("--lipsync", action="store_true", help="measure lips instead of time")
    parser.add_argument("--feelings", action="store_true", help="measure feelings instead of time")
    parser.add_argument("--sheets", type=Path, help="with --feelings: pictures into this folder")
    return parser.parse_args(arguments)


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
