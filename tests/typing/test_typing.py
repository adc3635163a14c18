"""What type checkers make of the public face: accepted.py whole, and of refused.py each marked line, and no other."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MARKS = re.compile(r"  # type: ignore.*$", re.MULTILINE)

pytestmark = pytest.mark.slow


def mypy(path: Path) -> set[int]:
    """The lines where mypy finds an error."""
    command = [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", "--output", "json", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in {0, 1}, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {each["line"] for each in found if each["severity"] == "error"}


def pyright(path: Path) -> set[int]:
    """The lines where pyright finds an error."""
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, str(path)]
    done = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, check=False)
    assert done.returncode in {0, 1}, done.stderr
    found = json.loads(done.stdout)["generalDiagnostics"]
    return {each["range"]["start"]["line"] + 1 for each in found if each["severity"] == "error"}


@pytest.mark.parametrize("checker", [mypy, pyright], ids=lambda checker: checker.__name__)
def test_what_must_be_accepted_is_and_what_must_be_refused_is(
    checker: Callable[[Path], set[int]], tmp_path: Path
) -> None:
    text = (HERE / "refused.py").read_text(encoding="utf-8")
    marked = {number for number, line in enumerate(text.splitlines(), 1) if MARKS.search(line)}
    bare, accepted = tmp_path / "bare.py", tmp_path / "accepted.py"
    bare.write_text(MARKS.sub("", text), encoding="utf-8")
    accepted.write_text((HERE / "accepted.py").read_text(encoding="utf-8"), encoding="utf-8")
    assert len(marked) > 5
    assert checker(bare) == marked
    assert checker(accepted) == set()
