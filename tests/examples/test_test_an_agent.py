"""Tests that are shown, as a reader runs them: by pytest, in a folder without our settings."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLE = (ROOT / "examples" / "test_an_agent.py").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "testing.md").read_text(), re.DOTALL)


def test_pytest_runs_them_on_both_loops_and_in_no_time(tmp_path: Path) -> None:
    """Six tests of the example, and four of the page."""
    [shown] = [block for block in BLOCKS if "import pytest" in block]
    (tmp_path / "test_example.py").write_text(EXAMPLE)
    (tmp_path / "test_page.py").write_text(shown)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=25.0, check=False)
    assert done.returncode == 0, done.stdout
    assert "10 passed" in done.stdout
