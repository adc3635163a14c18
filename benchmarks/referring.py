"""How many characters it costs to offer tools with references: `python -m benchmarks.referring FILE ...`.

Each file holds tools with a name, a description and parameters: a JSON list of them, an object of them, or one a line
(also gzipped). What is counted is the JSON of a tool as OpenAI's Chat Completions take it, which is about what the
others take.
"""

import gzip
import json
import sys
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import msgspec

from toolwire.protocol.referring import INSTRUCTION, referring
from toolwire.protocol.tools import ToolSpec


def read(file: Path) -> list[dict[str, Any]]:
    """The tools in a file."""
    raw = file.read_bytes()
    text = (gzip.decompress(raw) if file.suffix == ".gz" else raw).decode()
    if ".jsonl" in file.name:
        return [json.loads(line) for line in text.splitlines() if line]
    found = json.loads(text)
    return list(found.values()) if isinstance(found, dict) else list(found)


def characters(spec: ToolSpec) -> int:
    """How long a tool is as it is offered."""
    return len(msgspec.json.encode(spec.to_openai()).decode())


def main() -> None:
    """Print a line for each file."""
    print(f"instruction: {len(INSTRUCTION)} characters, once")
    for name in sys.argv[1:]:
        specs = [ToolSpec(t["name"], t.get("description", ""), t["parameters"]) for t in read(Path(name))]
        specs = [spec for spec in specs if spec.parameters.get("properties")]
        before = [characters(spec) for spec in specs]
        added = [characters(referring(spec)) - size for spec, size in zip(specs, before, strict=True)]
        p95 = quantiles(added, n=20)[18]
        share = 100 * sum(added) / sum(before)
        print(
            f"{Path(name).name}: {len(specs)} tools, of {median(before):.0f} characters; "
            f"added: median {median(added):.0f}, p95 {p95:.0f}, together {share:.0f} %"
        )


if __name__ == "__main__":
    main()
