"""Tests that are shown, as a reader runs them: by pytest, in a folder without our settings."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = (ROOT / "examples" / "test_an_agent.py").read_text()
PAGE = (ROOT / "docs" / "testing.md").read_text()
BLOCK = re.search(r"```python\n(import anyio\nimport pytest.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize(("shown", "count"), [(EXAMPLE, 6), (BLOCK and BLOCK[1], 4)], ids=["example", "page"])
def test_pytest_runs_it_on_both_loops_and_in_no_time(shown: str, count: int, tmp_path: Path) -> None:
    program = tmp_path / "test_shown.py"
    program.write_text(shown)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", program.name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=25.0, check=False)
    assert done.returncode == 0, done.stdout
    assert f"{count} passed" in done.stdout
