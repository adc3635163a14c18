"""What `import toolwire` takes in a fresh process, and that it leaves alone what is only needed later."""

import subprocess
import sys

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


def milliseconds(program: str) -> float:
    """What `program` prints. Raises RuntimeError if that is no number."""
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)  # noqa: S603
    try:
        return float(said.stdout)
    except ValueError:
        raise RuntimeError(f"import toolwire {said.stdout.strip()}") from None


def bench() -> Bench:
    """The line of the table."""
    sides = {"anyio+msgspec": lambda: milliseconds(EMPTY), TOOLWIRE: lambda: milliseconds(PROGRAM)}
    return Bench("import", "ms", sides, Gate(BUDGET))
