"""The shape of the project, checked: arrows, sizes, what the gateway loads."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("gateway", "workers", "models")
MAX_SOURCE_LINES = 400
MAX_TEST_LINES = 500
MAX_FUNCTION_LINES = 60


def python_files(*folders: str) -> list[Path]:
    """Every Python file below the given folders, migrations apart."""
    files = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path for path in files if "versions" not in path.parts]


@pytest.mark.parametrize("module", ["gateway.app", "gateway.cli.main", "gateway.housekeeping"])
def test_the_gateway_loads_no_torch(module: str) -> None:
    heavy = "{'torch', 'diffusers', 'transformers', 'numpy', 'av'}"
    code = f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert answer.stdout.strip() == "[]"


def test_the_worker_parent_loads_no_torch() -> None:
    code = "import sys, workers.parent, workers.delivery; print('torch' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert answer.stdout.strip() == "False"


def test_files_stay_within_their_cap() -> None:
    long = [
        f"{path.relative_to(ROOT)}: {length}"
        for paths, cap in (
            (python_files(*PACKAGES), MAX_SOURCE_LINES),
            (python_files("tests"), MAX_TEST_LINES),
        )
        for path in paths
        if (length := len(path.read_text(encoding="utf-8").splitlines())) > cap
    ]
    assert long == []


def test_functions_stay_within_their_cap() -> None:
    long = []
    for path in python_files(*PACKAGES):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                if length > MAX_FUNCTION_LINES:
                    long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {length}")
    assert long == []


def test_every_module_says_where_it_stands() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in python_files(*PACKAGES)
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert silent == []


def test_tests_of_a_file_share_a_process(request: pytest.FixtureRequest) -> None:
    """Otherwise what they share is made in both."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        pytest.skip("there is one process; the whole suite has two")
    assert request.node.nodeid.endswith(f"@{Path(__file__).relative_to(ROOT)}")
