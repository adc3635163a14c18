"""What is built and what is cloned: the wheel in an empty environment, and the tree under another folder's name."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from collections.abc import Sequence
from email.parser import HeaderParser
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

MINUTES = 300.0
"""Seconds that a program may take here: one that installs waits for the package index."""

CLEAN = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PYTEST", "TOOLWIRE"))}
"""The environment of somebody who has nothing to do with these tests."""

pytestmark = pytest.mark.slow


def ran(command: Sequence[str | Path], cwd: Path, **environment: str) -> str:
    """What a program printed. Fails with all of it if it did not end with 0."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**CLEAN, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=MINUTES,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def copied(to: Path) -> Path:
    """The tree as a clone would have it: nothing that was made, nothing hidden."""
    made = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "*.egg-info")
    return Path(shutil.copytree(ROOT, to, ignore=made))


def sources(root: Path) -> set[str]:
    """The names that the Python files of the package have in a wheel."""
    folders = [root / each for each in ("protocol", "runtime", "actors")]
    found = [*root.glob("*.py"), *(path for folder in folders for path in folder.rglob("*.py"))]
    return {f"toolwire/{path.relative_to(root).as_posix()}" for path in found}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, under a name that no module can have."""
    return copied(tmp_path_factory.mktemp("clone") / "tool-wire")


@pytest.fixture(scope="module")
def wheel(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    dist = tmp_path_factory.mktemp("dist")
    build: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        dist,
        ".",
    ]
    ran(build, tree)
    [built] = dist.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def scripts(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the programs of an environment are that holds the wheel with two extras, and nothing else of ours."""
    environment = tmp_path_factory.mktemp("empty") / "venv"
    ran([sys.executable, "-m", "venv", "--without-pip", environment], wheel.parent)
    folder = Path(sysconfig.get_path("scripts", "venv", {"base": str(environment), "platbase": str(environment)}))
    ours = [sys.executable, "-m", "pip", "--python", str(folder / "python")]  # making one there takes 3 s
    ran([*ours, "install", "--quiet", f"{wheel}[embedded,cli]"], wheel.parent)
    return folder


def test_the_wheel_has_every_file_and_no_other(wheel: Path, tree: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {each for each in names if each.endswith(".py")} == sources(tree)
    assert sources(tree) >= {"toolwire/__init__.py", "toolwire/__main__.py", "toolwire/protocol/tools.py"}
    assert "toolwire/py.typed" in names


def test_nothing_but_toolwire_lands_in_site_packages(wheel: Path) -> None:
    tops = {PurePosixPath(each).parts[0] for each in zipfile.ZipFile(wheel).namelist()}
    assert tops == {"toolwire", f"toolwire-{PROJECT['version']}.dist-info"}


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    info = f"toolwire-{PROJECT['version']}.dist-info"
    said = HeaderParser().parsestr(archive.read(f"{info}/METADATA").decode())
    assert (said["License-Expression"], said["Requires-Python"]) == ("Apache-2.0", ">=3.11")
    assert set(said.get_all("Provides-Extra", [])) == set(PROJECT["optional-dependencies"])
    assert "Apache License" in archive.read(f"{info}/licenses/LICENSE").decode()


def test_all_is_every_other_extra() -> None:
    extras = dict(PROJECT["optional-dependencies"])
    [everything] = extras.pop("all")
    assert everything == f"toolwire[{','.join(sorted(extras))}]"


def test_the_command_of_an_empty_environment_helps(scripts: Path, tmp_path: Path) -> None:
    said = ran([scripts / "toolwire", "--help"], tmp_path)
    assert "demo" in said
    assert "worker" in said


def test_the_demo_runs_from_the_wheel(scripts: Path, tmp_path: Path) -> None:
    assert ran([scripts / "toolwire", "demo"], tmp_path).strip()
    assert list(tmp_path.iterdir()) == []


def test_a_clone_of_any_name_tests_its_own_files(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "toolwire").symlink_to(tree)
    (tree / "tests" / "test_origin.py").write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "import toolwire.protocol.tools\n"
        "def test_origin():\n"
        "    assert Path(toolwire.__file__).resolve().parent == Path(__file__).parents[1]\n"
        "    assert not [name for name in sys.modules if name.startswith(('tool-wire', 'protocol', 'runtime.'))]\n"
    )
    # What the environment has installed is the tree beside us; the path goes first.
    chosen = ["tests/test_origin.py", "tests/test_structure.py::test_every_file_of_the_package_is_looked_at"]
    said = ran([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *chosen], tree, PYTHONPATH=str(tmp_path))
    assert "2 passed" in said
