"""`./run bench ledger`, made small: what it ends with, and that the past it invents is sound."""

import json
import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from gateway.db.session import Database
from gateway.points.audit import audit

ROOT = Path(__file__).parents[3]
LAST_LINE = re.compile(
    r"ledger: sqlite \d*\.\d\d postgresql \d*\.\d\d of the raw driver; "
    r"p50 x\d+\.\d\d / x\d+\.\d\d from 1e3 to 2e3 jobs"
)


def test_it_measures_both_databases_and_leaves_a_sound_ledger(tmp_path: Path) -> None:
    figures, folder = tmp_path / "figures.json", tmp_path / "kept"
    size = ["--jobs", "2000", "--accounts", "200", "--rounds", "2", "--submits", "10"]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.bench.ledger", *size),
            *("--json", str(figures), "--keep", str(folder)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert LAST_LINE.fullmatch(done.stdout.splitlines()[-1])
    found = json.loads(figures.read_text(encoding="utf-8"))
    assert found["summary"] == done.stdout.splitlines()[-1]
    for measured in found["databases"].values():
        rows = {table["table"]: table["num_rows"] for table in measured["tables"]}
        assert rows["job"] == rows["hold"] == rows["attempt"] == 2000
        assert rows["ledger_entry"] == 2 * rows["ledger_tx"]
    with (
        closing(Database(f"sqlite:///{folder / 'sqlite' / 'large.db'}")) as database,
        database.read() as connection,
    ):
        assert list(audit(connection)) == []
