"""examples/test_an_agent.py, as a reader runs it: in a folder without our settings."""

import shutil
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "test_an_agent.py"


def test_pytest_runs_it_on_both_loops_and_in_no_time(tmp_path: Path) -> None:
    shutil.copy(EXAMPLE, tmp_path)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", EXAMPLE.name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=25.0, check=False)
    assert done.returncode == 0, done.stdout
    assert "6 passed" in done.stdout
