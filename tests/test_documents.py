"""What the documents show is run: every Python block of README.md, every program in examples/."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.md")])
EXAMPLES = sorted(ROOT.glob("examples/*.py"))

LIMIT = 60.0
"""Seconds that one block or example may take."""

LINES = 40

BLOCK = re.compile(
    r"(?:<!--[ ]*not[ ]run:(?P<reason>(?:(?!-->).)*)-->\s*\n)?^```python[^\n]*\n(?P<code>.*?)^```[ ]*$",
    re.DOTALL | re.MULTILINE,
)
LINK = re.compile(r"\]\((?!\w+:|#)(?P<path>[^)#\s]+)(?:#[^)]*)?\)")


class Block(NamedTuple):
    """A Python block, the line on which it starts, and why it is not run (None if it is)."""

    code: str
    line: int
    reason: str | None


def blocks(text: str) -> Iterator[Block]:
    """Every block that is marked as Python. The mark that keeps one from running stands right before it."""
    for found in BLOCK.finditer(text):
        reason = found["reason"]
        yield Block(found["code"], text.count("\n", 0, found.start("code")) + 1, reason and reason.strip())


def ran(program: Path, cwd: Path) -> None:
    """Run a program as a reader would: with no model to pay for, and warnings as errors."""
    environment = {**os.environ, "TOOLWIRE_NO_MODELS": "1", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-W", "error", program],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, f"{program.name} ended with {done.returncode}:\n{done.stdout}"


SHOWN = [
    pytest.param(block, id=f"{path.relative_to(ROOT).as_posix()}:{block.line}")
    for path in DOCUMENTS
    for block in blocks(path.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize("block", SHOWN)
def test_a_block_does_what_it_shows(block: Block, tmp_path: Path) -> None:
    if block.reason is not None:
        assert block.reason, "a block that is not run needs its reason: <!-- not run: why -->"
        compile(block.code, "block", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        return
    program = tmp_path / "block.py"
    program.write_text(block.code, encoding="utf-8")
    ran(program, tmp_path)


def test_readme_shows_a_program_that_runs() -> None:
    assert [block for block in blocks(README.read_text(encoding="utf-8")) if block.reason is None]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_short_and_runs(example: Path, tmp_path: Path) -> None:
    assert len(example.read_text(encoding="utf-8").splitlines()) < LINES
    ran(example, tmp_path)


def test_there_are_examples_and_each_is_listed() -> None:
    listed = [found["path"] for found in LINK.finditer((ROOT / "examples" / "README.md").read_text(encoding="utf-8"))]
    assert sorted(listed) == [path.name for path in EXAMPLES] != []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(document: Path) -> None:
    links = [found["path"] for found in LINK.finditer(document.read_text(encoding="utf-8"))]
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_blocks_are_found_with_their_reasons() -> None:
    text = "a\n```python\nx = 1\n```\n<!-- not run: needs a key -->\n\n```python\ny\n```\n```sh\nls\n```\n"
    assert list(blocks(text)) == [Block("x = 1\n", 3, None), Block("y\n", 8, "needs a key")]
    assert list(blocks("<!-- not run: -->\n```python\nz\n```")) == [Block("z\n", 3, "")]
    far = "<!-- not run: far -->\ntext\n<!-- other -->\n```python\nz\n```"
    assert list(blocks(far)) == [Block("z\n", 5, None)]


def test_a_program_that_fails_is_noticed(tmp_path: Path) -> None:
    program = tmp_path / "broken.py"
    program.write_text("import warnings\nprint('said before')\nwarnings.warn('old')\n", encoding="utf-8")
    with pytest.raises(AssertionError, match=r"(?s)broken.py ended with 1:.*said before"):
        ran(program, tmp_path)


def test_links_are_found_but_not_those_that_leave() -> None:
    text = "[a](docs/a.md#part) [b](https://x.y/z) [c](#here) ![d](d.png)"
    assert [found["path"] for found in LINK.finditer(text)] == ["docs/a.md", "d.png"]
