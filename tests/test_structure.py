"""The order of the house: who may import whom, where imports stand, what the wheel has to carry.

Each rule is a function from a tree to the sentences about what breaks it. It is held against this repository, and
against a small tree that breaks it.
"""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]

LAYERS = {
    "protocol": {"protocol"},
    "runtime": {"protocol", "runtime"},
    "actors": {"protocol", "runtime", "actors"},
}
"""What the files of each folder may import. Those at the root may import all three."""

IMPURE = {
    *("anyio", "asyncio", "concurrent", "logging", "multiprocessing", "os", "queue", "random", "secrets", "select"),
    *("selectors", "shutil", "signal", "sniffio", "socket", "ssl", "subprocess", "tempfile", "threading", "time"),
    *(
        "trio",
        "urllib.request",
        "http",
        "nats",
        "openai",
        "anthropic",
        "google",
        "mcp",
        "opentelemetry",
        "uvloop",
        "rich",
        "cyclopts",
    ),
}
"""What protocol/ must not know: event loops, clocks, chance, files, the network."""

LATE = {
    "openai": "an extra",
    ".actors.models.anthropic": "for those who talk to it",
    ".actors.models.openai": "the same",
    ".actors.models.openai_responses": "the same",
    "cyclopts": "an extra",
    "rich": "an extra",
    "uvloop": "an extra",
    "sqlite3": "costly, and only where records are kept so",
    "nats": "costly, and not needed in memory",
    "jsonschema": "costly, and loaded beside the loop once a tool is served",
    "jsonschema_specifications": "comes with jsonschema",
    "json_repair": "costly, and only where repairs are switched on",
    "docstring_parser": "costly, and not needed where nothing is decorated",
    ".runtime.bus.nats": "costly, and not needed in memory",
    ".runtime.bus.embedded": "the same",
    "opentelemetry": "costly, and only where somebody listens",
    "trio": "costly, and there already where it runs",
}
"""What may be imported inside a function, and why. A file that imports one of these at its top may be too."""

LONGEST = 400
VAGUE = {"utils", "util", "helpers", "common", "base", "managers", "manager", "misc"}


class Import(NamedTuple):
    """One imported module: its dotted name seen from the root (`.protocol.tools`), or absolute (`anyio.abc`)."""

    module: str
    line: int
    late: bool


def files(root: Path) -> list[Path]:
    """Every Python file of the package."""
    folders = [path for layer in LAYERS for path in (root / layer).rglob("*.py")]
    return sorted([*root.glob("*.py"), *folders])


def name(path: Path, root: Path) -> str:
    """The dotted name of a file, seen from the root: `.protocol.tools`, `.runtime.bus`, `.` for the root itself."""
    parts = path.relative_to(root).with_suffix("").parts
    return "." + ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache  # each rule reads every file, and one reads a file for each import of it; nothing changes a tree after that
def imports(path: Path, root: Path) -> tuple[Import, ...]:
    """Every import of a file. `from .bus import contract` means the file bus/contract.py where there is one."""
    return tuple(found(path, root))


def found(path: Path, root: Path) -> Iterator[Import]:
    """The same, as they stand."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    late = {
        id(inner)
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for inner in ast.walk(outer)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, id(node) in late)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield Import(node.module or "", node.lineno, id(node) in late)
        elif isinstance(node, ast.ImportFrom):
            folder = path.parents[node.level - 1].relative_to(root)
            start = (*folder.parts, *(node.module or "").split(".")) if node.module else folder.parts
            for module in sorted({target(start, alias.name, root) for alias in node.names}):
                yield Import(module, node.lineno, id(node) in late)


def target(start: tuple[str, ...], imported: str, root: Path) -> str:
    """The module that `from start import imported` reads."""
    inside = root.joinpath(*start, imported)
    return "." + ".".join((*start, imported) if inside.with_suffix(".py").exists() or inside.is_dir() else start)


def matches(module: str, names: set[str]) -> bool:
    """Whether a module is one of `names`, or inside one."""
    return any(module == each or module.startswith(f"{each}.") for each in names)


def against_the_direction(root: Path) -> list[str]:
    """Imports that go against protocol <- runtime <- actors, or that name the package from inside."""
    wrong = []
    for path in files(root):
        own = name(path, root)
        layer = own.split(".")[1]
        for module, line, _ in imports(path, root):
            top = module.split(".")[1] if module.startswith(".") else ""
            if matches(module, {"toolwire", *LAYERS}):
                wrong.append(f"{own}:{line} imports {module}: inside the package imports are relative")
            elif module.startswith(".") and layer in LAYERS and top not in LAYERS[layer]:
                wrong.append(f"{own}:{line} imports {module}, which stands below it")
    return wrong


def cycles(root: Path) -> list[str]:
    """A chain of files that import each other, if there is one."""
    modules = {name(path, root): path for path in files(root)}
    graph = {own: {each.module for each in imports(path, root)} - {own} for own, path in modules.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        chain: list[str] = error.args[1]
        return [" <- ".join(chain)]
    return []


def late_imports(root: Path) -> list[str]:
    """Imports inside functions that are not on the list of reasons, by their own name or by what they need."""
    modules = {name(path, root): path for path in files(root)}
    wrong = []
    for own, path in modules.items():
        for module, line, late in imports(path, root):
            within = imports(modules[module], root) if module in modules else []
            needed = {module, *(each.module for each in within)}
            if late and not any(matches(each, set(LATE)) for each in needed):
                wrong.append(f"{own}:{line} imports {module} inside a function")
    return wrong


def impure(root: Path) -> list[str]:
    """What protocol/ imports or calls that reaches outside the program."""
    wrong = []
    for path in (root / "protocol").rglob("*.py"):
        own = name(path, root)
        wrong += [
            f"{own}:{line} imports {module}" for module, line, _ in imports(path, root) if matches(module, IMPURE)
        ]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id="open" | "print" | "input" as function)):
                    wrong.append(f"{own}:{node.lineno} calls {function}()")
                case ast.AsyncFunctionDef():
                    wrong.append(f"{own}:{node.lineno} is async")
                case _:
                    pass
    return wrong


def too_long(root: Path) -> list[str]:
    """Files that are more than one noun."""
    counted = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in files(root)}
    return [f"{name(path, root)} has {count} lines" for path, count in counted.items() if count > LONGEST]


def vague(root: Path) -> list[str]:
    """Files and folders whose name says nothing."""
    return [f"{name(path, root)} says nothing" for path in files(root) if VAGUE & set(name(path, root).split("."))]


def unlisted(root: Path) -> list[str]:
    """Where the packages of pyproject.toml are not the folders of the tree, which the wheel then lacks."""
    listed: list[str] = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {path.parent for path in files(root)}
    there = {".".join(("toolwire", *folder.relative_to(root).parts)) for folder in folders}
    return [
        *(f"{each} is not in pyproject.toml" for each in sorted(there - set(listed))),
        *(f"{each} is not in the tree" for each in sorted(set(listed) - there)),
        *(f"{name(each, root)} has no __init__.py" for each in sorted(folders) if not (each / "__init__.py").exists()),
    ]


Rule = Callable[[Path], list[str]]
PROJECT = '[tool.setuptools]\npackages = ["toolwire", "toolwire.protocol", "toolwire.gone"]\n'
BROKEN: list[tuple[Rule, dict[str, str], str]] = [
    (
        against_the_direction,
        {"runtime/system.py": "from ..actors.tool import Tool", "actors/tool.py": "Tool = 1"},
        ".runtime.system:1 imports .actors.tool, which stands below it",
    ),
    (
        against_the_direction,
        {"protocol/turn.py": "from .. import runtime", "runtime/__init__.py": ""},
        ".protocol.turn:1 imports .runtime, which stands below it",
    ),
    (
        against_the_direction,
        {"actors/tool.py": "from .. import __version__", "__init__.py": ""},
        ".actors.tool:1 imports ., which stands below it",
    ),
    (
        against_the_direction,
        {"actors/tool.py": "from toolwire.protocol import tools"},
        ".actors.tool:1 imports toolwire.protocol: inside the package imports are relative",
    ),
    (
        against_the_direction,
        {"actors/tool.py": "import runtime.bus"},
        ".actors.tool:1 imports runtime.bus: inside the package imports are relative",
    ),
    (
        cycles,
        {"runtime/a.py": "from .b import x", "runtime/b.py": "def f():\n    from . import a"},
        ".runtime.a <- .runtime.b <- .runtime.a",
    ),
    (
        late_imports,
        {"runtime/a.py": "async def f():\n    import json\n"},
        ".runtime.a:2 imports json inside a function",
    ),
    (
        late_imports,
        {"runtime/a.py": "class A:\n    def f(self):\n        from .b import x\n", "runtime/b.py": "import anyio"},
        ".runtime.a:3 imports .runtime.b inside a function",
    ),
    (impure, {"protocol/a.py": "from time import monotonic"}, ".protocol.a:1 imports time"),
    (impure, {"protocol/a.py": "import msgspec\nx = open('y')"}, ".protocol.a:2 calls open()"),
    (impure, {"protocol/a.py": "async def f(): ..."}, ".protocol.a:1 is async"),
    (too_long, {"protocol/a.py": "x = 1\n" * 401}, ".protocol.a has 401 lines"),
    (vague, {"runtime/helpers.py": ""}, ".runtime.helpers says nothing"),
    (vague, {"runtime/common/bus.py": ""}, ".runtime.common.bus says nothing"),
    (
        unlisted,
        {"pyproject.toml": PROJECT, "protocol/formats/mcp.py": "", "__init__.py": ""},
        "toolwire.protocol.formats is not in pyproject.toml",
    ),
    (unlisted, {"pyproject.toml": PROJECT, "__init__.py": ""}, "toolwire.gone is not in the tree"),
    (unlisted, {"pyproject.toml": PROJECT, "protocol/a.py": ""}, ".protocol has no __init__.py"),
]
ALLOWED: list[tuple[Rule, dict[str, str]]] = [
    (against_the_direction, {"__init__.py": "from .actors.tool import tool", "actors/tool.py": "import json"}),
    (against_the_direction, {"runtime/bus/nats.py": "from ...protocol import tools", "protocol/tools.py": ""}),
    (late_imports, {"runtime/a.py": "def f():\n    import openai.types\n"}),
    (late_imports, {"runtime/a.py": "def f():\n    from .b import x\n", "runtime/b.py": "import nats"}),
    (impure, {"protocol/a.py": "import msgspec, datetime"}),
    (too_long, {"protocol/a.py": "x = 1\n" * 400}),
]


def planted(root: Path, tree: dict[str, str]) -> Path:
    for path, text in tree.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


@pytest.mark.parametrize(
    "rule",
    [against_the_direction, cycles, late_imports, impure, too_long, vague, unlisted],
    ids=lambda rule: rule.__name__,
)
def test_the_house_is_in_order(rule: Rule) -> None:
    assert rule(ROOT) == []


@pytest.mark.parametrize(("rule", "tree", "sentence"), BROKEN, ids=lambda value: getattr(value, "__name__", ""))
def test_what_breaks_a_rule_is_named(rule: Rule, tree: dict[str, str], sentence: str, tmp_path: Path) -> None:
    assert sentence in rule(planted(tmp_path, tree))


@pytest.mark.parametrize(("rule", "tree"), ALLOWED, ids=lambda value: getattr(value, "__name__", ""))
def test_what_a_rule_allows_is_let_pass(rule: Rule, tree: dict[str, str], tmp_path: Path) -> None:
    assert rule(planted(tmp_path, tree)) == []


def test_every_file_of_the_package_is_looked_at() -> None:
    seen = {name(path, ROOT) for path in files(ROOT)}
    assert {".", ".protocol.tools", ".runtime.bus", ".runtime.bus.contract"} <= seen
    assert not any(each.startswith((".tests", ".build")) for each in seen)


def test_importing_all_of_it_loads_nothing_that_is_late() -> None:
    program = f"import sys, toolwire; print(sorted({{*sys.modules}} & {set(LATE)!r}))"
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert said.stdout == "[]\n"
