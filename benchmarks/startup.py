"""What `import toolwire` takes in a fresh process, and that it leaves alone what is only needed later.

As it is once installed: pip compiles what it installs, so the modules are compiled here before anything is measured,
into a directory of their own, whatever PYTHONDONTWRITEBYTECODE says.
"""

import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from .measure import TOOLWIRE, Bench, Gate

LATER = ("nats", "opentelemetry.sdk", "rich", "openai", "cyclopts", "docstring_parser", "jsonschema")
"""Modules that `import toolwire` must not import."""

BUDGET = 150.0

PROGRAM = f"""
import sys, time
started = time.perf_counter()
import toolwire
taken = time.perf_counter() - started
early = [name for name in {LATER!r} if name in sys.modules]
print(taken * 1000 if not early else "imports " + ", ".join(early))
"""

EMPTY = """
import time
started = time.perf_counter()
import anyio, msgspec
print((time.perf_counter() - started) * 1000)
"""


def milliseconds(program: str, compiled: "tempfile.TemporaryDirectory[str]") -> float:
    """What `program` prints, with its modules kept `compiled`. Raises RuntimeError if that is no number."""
    settings = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    settings["PYTHONPYCACHEPREFIX"] = compiled.name
    command = [sys.executable, "-c", program]
    if not any(Path(compiled.name).iterdir()):
        subprocess.run(command, check=True, capture_output=True, env=settings)  # noqa: S603
    said = subprocess.run(command, check=True, capture_output=True, text=True, env=settings)  # noqa: S603
    try:
        return float(said.stdout)
    except ValueError:
        raise RuntimeError(f"import toolwire {said.stdout.strip()}") from None


def bench() -> Bench:
    """The line of the table."""
    floor, whole = (tempfile.TemporaryDirectory(prefix="toolwire-import-") for _ in range(2))
    sides = {"anyio+msgspec": partial(milliseconds, EMPTY, floor), TOOLWIRE: partial(milliseconds, PROGRAM, whole)}
    return Bench("import", "ms", sides, Gate(BUDGET))
