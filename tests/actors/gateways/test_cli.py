"""The commands as programs: what they print, how they end, and what becomes of calls whose worker dies."""

import io
import json
import os
import pty
import queue
import select
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from rich.console import Console

from toolwire import History, UserMessage
from toolwire.actors.gateways.cli.app import ended_by
from toolwire.actors.gateways.cli.chat import setting
from toolwire.actors.gateways.cli.exits import Exit, exit_of
from toolwire.actors.gateways.console import harmless
from toolwire.actors.gateways.live import CallLine
from toolwire.protocol.events import CallStarted
from toolwire.protocol.failures import CODES, Misuse, ToolwireError, failed
from toolwire.protocol.tools import ToolResult

ROOT = Path(__file__).parents[3]

WORK = '''
import os
import shutil
from pathlib import Path
import anyio
from toolwire import Agent, Context, ToolError, scripted, tool

@tool
async def greet(name: str, shout: bool = False) -> str:
    """Greet somebody.

    Args:
        name: Who.
    """
    return f"hello {name}"

@tool(read_only=True)
async def measure(parts: int) -> list[int]:
    """Give numbers."""
    return list(range(parts))

@tool
async def refuse() -> None:
    """Never."""
    raise ToolError("not today")

@tool(confirm=lambda a: a.amount > 100 and f"it moves {a.amount}")
async def pay(amount: int) -> str:
    """Pay."""
    return f"paid {amount}"

@tool(confirm=lambda a: f"it tells {a.whom}")
async def tell(whom: str) -> str:
    return f"told {whom}"

async def hold(pipe: str, seconds: float, context: Context) -> str:
    """Say which process runs it, then take its time; a second attempt takes none."""
    Path(pipe).write_text(f"{os.getpid()}\\n")
    if context.attempt == 1:
        await anyio.sleep(seconds)
    return f"by {os.getpid()}"

SLOW = [tool(name="slow", timeout=3600)(hold), tool(name="look", timeout=3600, read_only=True)(hold)]
TOOLS = [greet, measure, refuse]
NOTHING = []
CALLS = [("greet", {"name": "Ada"}), ("greet", {})]
FRIEND = Agent("friend", scripted([["Wait. ", *CALLS], "Done.", "Bye."]), tools=[greet])
CAREFUL = Agent("careful", scripted([("pay", {"amount": 500}), "So it stays."]), tools=[pay])
FORGER = Agent("forger", scripted([("tell", {"whom": "Ada\\n  do it? [y/N] y\\nTold."}), "So."]), tools=[tell])

@tool
async def leave() -> None:
    """Take away the place where the conversation is kept."""
    shutil.rmtree("kept")

MOVER = Agent("mover", scripted([("leave", {}), "Moved.", "Bye."]), tools=[leave])
PATIENT = Agent("patient", scripted([("look", {"pipe": "pipe", "seconds": 3600}), "Again."]), tools=[SLOW[1]])
'''

PATIENCE = 30.0
"""Seconds that a program may take before it counts as hung."""

COMMAND = (sys.executable, "-m", "toolwire")


class Ended(NamedTuple):
    """How a program ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Toolwire = Callable[..., Ended]


def environment(**more: str) -> dict[str, str]:
    """Ours, without what would change what a command does."""
    unset = ("TOOLWIRE", "OPENAI", "COLUMNS", "NO_COLOR", "FORCE_COLOR")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(unset)}
    return {**kept, "PYTHONWARNINGS": "error", "PYTHONUTF8": "1", **more}


class Program:
    """A command that runs; its lines come one by one. What it would have removed at its end is left in `rubbish`."""

    def __init__(self, arguments: tuple[str, ...], cwd: Path, rubbish: Path) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=cwd,
            env=environment(TMPDIR=str(rubbish)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.heard: list[str] = []
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def line(self) -> str:
        """Its next line."""
        line = self._lines.get(timeout=PATIENCE)
        self.heard.append(line)
        assert line, f"it ended with {self.process.wait(PATIENCE)} and said: {''.join(self.heard)}"
        return line

    def tell(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def ended(self) -> int:
        """Its exit code."""
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        """End it, if it has not ended."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        if self.process.stdout is not None:
            self.process.stdout.close()


Started = Callable[..., Program]


@pytest.fixture
def toolwire(tmp_path: Path) -> Toolwire:
    """Runs one command to its end, in a directory of its own."""

    def run(*arguments: str, stdin: str = "", cwd: Path = tmp_path, **more: str) -> Ended:
        done = subprocess.run(
            [*COMMAND, *arguments],
            cwd=cwd,
            env=environment(**more),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def started(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """Starts commands that stay; they end with the test."""
    rubbish = tmp_path_factory.mktemp("rubbish")
    with ExitStack() as stack:

        def start(*arguments: str, cwd: Path = tmp_path) -> Program:
            program = Program(arguments, cwd, rubbish)
            stack.callback(program.close)
            return program

        yield start


@pytest.fixture
def broker(started: Started) -> str:
    """The URL of a broker that `toolwire broker` runs."""
    line = started("broker", "--port", "0").line()
    return next(word for word in line.replace(";", " ").split() if word.startswith("nats://"))


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A directory with a module `work`, and a pipe by which its tools say that they run."""
    (tmp_path / "work.py").write_text(WORK)
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


class Pipe:
    """The reading end of a named pipe."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_RDWR | os.O_NONBLOCK)  # also for writing: so it never comes to its end

    def number(self) -> int:
        """The next number that somebody writes."""
        ready, _, _ = select.select([self._handle], [], [], PATIENCE)
        assert ready, "nobody wrote into the pipe"
        return int(os.read(self._handle, 100))

    def close(self) -> None:
        os.close(self._handle)


@pytest.fixture
def pipe(work: Path) -> Iterator[Pipe]:
    opened = Pipe(work / "pipe")
    yield opened
    opened.close()


SLOW = json.dumps({"pipe": "pipe", "seconds": 3600})
NOBODY = "nats://127.0.0.1:9"


def test_help_names_the_commands_and_how_they_end(toolwire: Toolwire) -> None:
    said = toolwire("--help")
    assert said.code == 0
    for word in ("demo", "broker", "worker", "chat", "tools", "call", "130", "TOOLWIRE_NATS", "toolwire.toml"):
        assert word in said.out


def test_version_is_that_of_the_package(toolwire: Toolwire) -> None:
    assert toolwire("--version").out.strip().count(".") == 2


NEEDING = """
class Needing:
    def __init__(self, key): ...
    def use(self) -> None: ...
"""

WRONG = [
    (("call", "greet", "{"), "the arguments are no JSON"),
    (("call", "greet", "[1]", "--tools", "work:greet"), "no object"),
    (("call", "greet"), "say where the tools are"),
    (("call", "greet", "--tools", "work"), "'work' is not module:attribute"),
    (("call", "greet", "--tools", "gone:x"), "there is no module 'gone'"),
    (("call", "greet", "--tools", "work:gone"), "the module work has no 'gone'; it has"),
    (("call", "greet", "--tools", "work:CALLS"), "which is no tool, function, object, class or agent"),
    (("call", "greet", "--tools", "torn:x"), "torn.py, line 1"),
    (("call", "greet", "--tools", "needy:x"), "the module needy needs 'gone_for_good', which is not installed"),
    (("call", "greet", "--tools", "raises:x"), "ZeroDivisionError: division by zero"),
    (("call", "greet", "--tools", "./work.py:greet"), "'./work.py' is a file, where a module is meant: work:greet"),
    (("call", "greet", "--tools", "work:NOTHING"), "work:NOTHING is empty"),
    (("call", "greet", "--tools", "lazy:x"), "lazy:x could not be loaded: ZeroDivisionError"),
    (("call", "greet", "--tools", "needing:Needing"), "can't be served: TypeError: Needing.__init__() missing"),
    (("worker", "needing:Needing", "--nats", "memory://"), "can't be served: TypeError: Needing.__init__() missing"),
    (("call", "greet", '{"n": 1e400}', "--tools", "work:greet"), "can't be read: Number out of range"),
    (("call", "greet", "{}", "more", "--tools", "work:greet"), "nobody knows what to do with: more; see"),
    (("tools", "work:greet"), "nobody knows what to do with: work:greet (tools are given as --tools work:greet); see"),
    (("chat", "work:agent"), "nobody knows what to do with: work:agent (an agent is given as --agent work:agent); see"),
    (("call", "greet", "--nats", ""), "say where the tools are"),
    (("broker", "--port", "65536"), "--port must be from 0 to 65535"),
    (("worker", "work:greet", "--nats", ""), "say on which bus"),
    (("call", "greet", "--tools", "work:greet", "--tools", "work:greet"), "served twice"),
    (("call", "gret", "--tools", "work:greet"), "did you mean 'greet'?"),
    (("call", "greet", "{}", "--tools", "work:greet"), "invalid_arguments"),
    (("call", "greet", "--timeout", "-1", "--tools", "work:greet"), "--timeout must be more than 0 s"),
    (("call", "greet", "--bogus"), "Unknown option"),
    (("frobnicate",), "Unknown command"),
    (("tools", "--nats", "http://127.0.0.1"), "is no bus"),
    (("worker",), "say what to serve"),
    (("worker", "work:greet"), "say on which bus"),
    (("chat",), "say whom to talk to"),
    (("chat", "--agent", "work:greet"), "work:greet is no Agent"),
    (("chat", "--model", "nobody:x"), "'nobody' is not known"),
]


@pytest.mark.parametrize(
    ("arguments", "sentence"), WRONG, ids=lambda value: value if isinstance(value, str) else value[0]
)
def test_who_asks_wrongly_reads_one_sentence(
    arguments: tuple[str, ...], sentence: str, toolwire: Toolwire, work: Path
) -> None:
    (work / "torn.py").write_text("def f(:")
    (work / "needy.py").write_text("import gone_for_good")
    (work / "raises.py").write_text("1 / 0")
    (work / "lazy.py").write_text("def __getattr__(name): 1 / 0")
    (work / "needing.py").write_text(NEEDING)
    said = toolwire(*arguments)
    assert (said.code, said.out) == (2, "")
    assert sentence in said.err
    assert "Traceback" not in said.err
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("command", [("call", "x"), ("tools",), ("worker", "work:greet")], ids=lambda value: value[0])
def test_where_nobody_listens_is_said_soon(command: tuple[str, ...], toolwire: Toolwire, work: Path) -> None:
    began = time.monotonic()
    said = toolwire(*command, "--nats", NOBODY)
    assert time.monotonic() - began < 3
    assert (said.code, said.out) == (3, "")
    assert said.err == "toolwire: unreachable: no NATS server at 127.0.0.1:9: Connection refused\n"


def test_a_call_prints_what_the_tool_returns(toolwire: Toolwire, work: Path) -> None:
    said = toolwire("call", "greet", '{"name": "Ada"}', "--tools", "work:TOOLS")
    assert said == Ended(0, "hello Ada\n", "")
    assert toolwire("call", "measure", "-", "--tools", "work:measure", stdin='{"parts": 2}').json == [0, 1]


def test_arguments_that_are_no_text_are_refused(work: Path) -> None:
    command = [*COMMAND, "call", "greet", "-", "--tools", "work:greet"]
    said = subprocess.run(
        command,
        cwd=work,
        env=environment(),
        input=b'{"name": "\xff"}',
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert said.returncode == 2
    assert said.stderr.startswith(b"toolwire: the arguments are no JSON")


def test_what_calls_sys_exit_does_not_choose_how_the_command_ends(toolwire: Toolwire, work: Path) -> None:
    (work / "leaves.py").write_text("import sys; sys.exit(0)")
    said = toolwire("tools", "--tools", "leaves:x")
    assert (said.code, said.out) == (1, "")
    assert said.err == "toolwire: what was loaded or served here called sys.exit(0)\n"


def test_a_terminal_of_few_characters_is_written_to(toolwire: Toolwire, work: Path) -> None:
    given = json.dumps({"name": "Zo\u00eb \u2713"}, ensure_ascii=False)
    said = toolwire("call", "greet", given, "--tools", "work:greet", PYTHONIOENCODING="ascii")
    assert (said.code, said.out) == (0, "hello Zo? ?\n")


def test_without_standard_output_it_still_runs(work: Path) -> None:
    call = shlex.join([*COMMAND, "call", "greet", '{"name": "Ada"}', "--tools", "work:greet"])
    said = subprocess.run(
        ["/bin/sh", "-c", f"{call} >&-"],
        cwd=work,
        env=environment(),
        stderr=subprocess.PIPE,
        timeout=PATIENCE,
        check=False,
    )
    assert (said.returncode, said.stderr) == (0, b"")


def test_what_a_terminal_would_obey_is_taken_out() -> None:
    assert harmless("a\x1b[31m\x9b2J\r\n\tb") == "a�[31m�2J�\n\tb"
    assert harmless("invoice\u202egpj.exe \u2066x\u2069") == "invoice�gpj.exe �x�"
    assert harmless("Zoë ✓ שלום 👩‍🔬") == "Zoë ✓ שלום 👩‍🔬"


@pytest.mark.parametrize("width", [30, 80])
def test_a_call_that_runs_keeps_to_one_line_with_its_seconds(width: int) -> None:
    shown = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None)
    call = CallLine(CallStarted("1", "search", json.dumps({"text": "long" * 30})), lambda: 0.0)
    shown.print(call)
    call.end(ToolResult("1", "search", content=json.dumps("long" * 30)))
    shown.print(call)
    assert isinstance(shown.file, io.StringIO)
    running, ended = shown.file.getvalue().splitlines()
    assert running.endswith("  0.0 s")
    assert ended.startswith("  ✓ search(")
    assert max(len(running), len(ended)) <= width - 2


def test_a_call_for_programs_is_one_line_of_json(toolwire: Toolwire, work: Path) -> None:
    said = toolwire("call", "greet", '{"name": "Ada"}', "--tools", "work:greet", "--json")
    assert (said.code, said.json["ok"], said.json["value"], said.out.count("\n")) == (0, True, "hello Ada", 1)
    said = toolwire("call", "refuse", "--tools", "work:refuse", "--json")
    assert (said.code, said.json["ok"], said.json["failure"]["code"]) == (1, False, "failed")
    assert said.err == "failed: not today\n"


def test_a_call_that_a_person_has_to_confirm_runs_with_yes_only(toolwire: Toolwire, work: Path) -> None:
    command = ("call", "pay", '{"amount": 500}', "--tools", "work:pay")
    asked = toolwire(*command)
    assert (asked.code, asked.out) == (Exit.FAILED, "")
    assert "confirmation_required: a person has to confirm this call of 'pay' first: it moves 500" in asked.err
    assert 'its arguments: {"amount":500}\nto confirm it, give the same command with --yes' in asked.err
    confirmed = toolwire(*command, "--yes")
    assert (confirmed.code, confirmed.out) == (0, "paid 500\n")
    small = toolwire("call", "pay", '{"amount": 5}', "--tools", "work:pay")
    assert (small.code, small.out) == (0, "paid 5\n")


def test_a_call_that_takes_too_long_has_failed(toolwire: Toolwire, pipe: Pipe) -> None:
    said = toolwire("call", "look", SLOW, "--timeout", "0.2", "--tools", "work:SLOW")
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("timed_out: ")


def test_tools_are_listed_for_people_and_for_programs(toolwire: Toolwire, work: Path) -> None:
    said = toolwire("tools", "--tools", "work:TOOLS")
    assert said.code == 0
    [heading, greet, measure, refuse] = said.out.splitlines()
    assert heading.split() == ["tool", "what", "it", "does", "takes", "is", "where"]
    assert greet.split("  ", 1)[0] == "greet"
    assert "Greet somebody." in greet
    assert "name: string, shout?: boolean" in greet
    assert "read_only" in measure
    assert refuse.split()[-1] == "here"
    listed = toolwire("tools", "--tools", "work:TOOLS", "--json").json
    assert [(each["name"], each["where"]) for each in listed] == [
        ("greet", ["here"]),
        ("measure", ["here"]),
        ("refuse", ["here"]),
    ]


POOR = '''
from toolwire import lazy, tool

@tool(name="weather.get", version="3")
async def weather(city: str) -> str:
    """Weather."""
    return city

@tool
async def fine(city: str) -> str:
    """The weather in a city.

    Args:
        city: Its name.
    """
    return city

SOON = lazy("soon", lambda: fine, description="Comes only when it is called.", until="called")
TOOLS = [weather, fine, SOON]
'''


def test_tools_are_checked(toolwire: Toolwire, work: Path) -> None:
    (work / "poor.py").write_text(POOR)
    said = toolwire("tools", "--check", "--tools", "poor:TOOLS")
    assert said.code == 0
    for words in ("soon (lazy)", "one word", "'city' has no description", "providers refuse the name", "3 to mend"):
        assert words in said.out
    found = toolwire("tools", "--check", "--json", "--strict", "--tools", "poor:TOOLS")
    assert found.code == 1
    assert found.json["found"] == 3
    by_name = {each["name"]: [finding["code"] for finding in each["findings"]] for each in found.json["tools"]}
    assert by_name == {"fine": [], "soon": [], "weather.get": ["name_refused", "one_word", "undescribed"]}
    assert found.json["characters"] == sum(each["characters"] for each in found.json["tools"])
    assert toolwire("tools", "--strict", "--tools", "poor:fine").code == 0
    assert toolwire("tools", "--strict", "--tools", "poor:weather").code == 1


def test_a_version_and_what_is_lazy_are_listed(toolwire: Toolwire, work: Path) -> None:
    (work / "poor.py").write_text(POOR)
    said = toolwire("tools", "--tools", "poor:TOOLS").out
    assert "version 3" in said
    assert "lazy, until called" in said
    listed = {each["name"]: each for each in toolwire("tools", "--json", "--tools", "poor:TOOLS").json}
    assert (listed["weather.get"]["version"], listed["soon"]["lazy"]) == ("3", "called")


def test_a_setting_comes_from_the_strongest_place(toolwire: Toolwire, work: Path) -> None:
    def listed(*arguments: str, **more: str) -> list[str]:
        return [each["name"] for each in toolwire("tools", "--json", *arguments, **more).json]

    (work / "pyproject.toml").write_text('[project]\nname = "x"\n[tool.toolwire]\ntools = ["work:refuse"]\nelse = 1\n')
    assert listed() == ["refuse"]
    (work / "toolwire.toml").write_text('tools = ["work:measure"]\njson = true\n')
    assert listed() == ["measure"]
    assert listed(TOOLWIRE_TOOLS="work:greet") == ["greet"]
    assert listed("--tools", "work:TOOLS", TOOLWIRE_TOOLS="work:greet") == ["greet", "measure", "refuse"]
    assert toolwire("call", TOOLWIRE_NAME="greet", TOOLWIRE_TOOLS="work:greet").code == 2
    (work / "below").mkdir()
    assert toolwire("call", "measure", '{"parts": 1}', cwd=work / "below", PYTHONPATH=str(work)).json["value"] == [0]
    (work / "toolwire.toml").write_text("tools = [")
    said = toolwire("tools")
    assert (said.code, said.err.partition(":")[2][: len(f" {work}")]) == (2, f" {work}")


def test_a_reader_who_leaves_makes_no_noise(work: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [*COMMAND, "tools", "--tools", "work:TOOLS"]
    done = subprocess.run(command, cwd=work, env=environment(), stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("missing", ["cyclopts", "rich"])
def test_without_its_libraries_it_says_what_to_install(missing: str) -> None:
    program = f"import sys; sys.modules[{missing!r}] = None; from toolwire.__main__ import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        2,
        f"toolwire: the command line needs {missing}: pip install 'toolwire[cli]'\n",
    )


def test_a_port_that_is_taken_is_said_in_a_sentence(broker: str, toolwire: Toolwire) -> None:
    said = toolwire("broker", "--port", broker.rpartition(":")[2])
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("toolwire: port ")
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_broker_ends_at_a_signal(number: signal.Signals, started: Started) -> None:
    program = started("broker", "--port", "0")
    assert "listens on nats://127.0.0.1:" in program.line()
    assert "toolwire worker" in program.line()
    program.tell(number)
    assert program.ended() == 0


def test_a_broker_whose_server_is_killed_has_failed(started: Started, tmp_path: Path) -> None:
    program = started("broker", "--port", "0", "--data", "kept")
    for _ in range(3):
        program.line()
    record = json.loads((tmp_path / "kept" / "toolwire.json").read_text())
    os.kill(record["pid"], signal.SIGKILL)
    assert "the broker is gone" in program.line()
    assert program.ended() == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_demo_that_is_told_to_end_takes_its_workers_along(number: signal.Signals, started: Started) -> None:
    program = started("demo")
    said = [program.line() for _ in range(3)]
    workers = [int(line.split()[3].rstrip(":")) for line in said if line.startswith("worker")]
    assert len(workers) == 2
    program.tell(number)
    assert program.ended() == 130
    for worker in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)


def test_a_broker_keeps_its_data_where_it_is_told(started: Started, tmp_path: Path) -> None:
    program = started("broker", "--port", "0", "--data", "kept")
    program.line()
    assert any((tmp_path / "kept").iterdir())


def test_the_tools_of_the_example_are_served_from_the_current_directory(
    broker: str, started: Started, toolwire: Toolwire
) -> None:
    line = started("worker", "examples.slow:TOOLS", "--nats", broker, cwd=ROOT).line()
    assert f"serves slow, slow_look on {broker}" in line
    assert toolwire("call", "slow", '{"seconds": 0}', "--nats", broker) == Ended(0, "done after 0 s\n", "")
    [slow, look] = toolwire("tools", "--nats", broker, "--json").json
    assert (slow["name"], look["name"], look["read_only"]) == ("slow", "slow_look", True)
    assert line.split()[1] in slow["where"]


def test_namespaces_do_not_see_each_other(broker: str, started: Started, toolwire: Toolwire, work: Path) -> None:
    started("worker", "work:greet", "--nats", broker, "--namespace", "tenant").line()
    call = ("call", "greet", '{"name": "Ada"}', "--nats", broker)
    assert toolwire(*call).code == 3
    assert toolwire(*call, "--namespace", "tenant").out == "hello Ada\n"


def workers(started: Started, url: str) -> dict[int, Program]:
    """Two workers, by process id."""
    programs = [started("worker", "work:SLOW", "--nats", url, "--json") for _ in range(2)]
    for program in programs:
        assert json.loads(program.line())["tools"] == ["slow", "look"]
    return {program.process.pid: program for program in programs}


def test_a_call_whose_worker_is_killed_is_lost(broker: str, started: Started, toolwire: Toolwire, pipe: Pipe) -> None:
    running = workers(started, broker)
    caller = started("call", "slow", SLOW, "--nats", broker)
    running[pipe.number()].tell(signal.SIGKILL)
    killed = time.monotonic()
    assert caller.line().startswith("worker_lost: ")
    assert time.monotonic() - killed < 5
    assert caller.ended() == 1
    for program in running.values():
        program.tell(signal.SIGKILL)
        program.ended()
    said = toolwire("call", "slow", SLOW, "--nats", broker, "--json")
    assert (said.code, said.json["failure"]["code"]) == (3, "unreachable")
    assert said.json["seconds"] < 1
    assert said.err.startswith("unreachable: ")


def test_a_call_that_only_reads_is_answered_by_the_other_worker(broker: str, started: Started, pipe: Pipe) -> None:
    running = workers(started, broker)
    caller = started("call", "look", SLOW, "--nats", broker)
    first = pipe.number()
    running[first].tell(signal.SIGKILL)
    second = pipe.number()
    assert second in running
    assert second != first
    assert caller.line() == f"by {second}\n"
    assert caller.ended() == 0


def test_a_worker_that_is_told_to_end_lets_its_calls_end(broker: str, started: Started, pipe: Pipe) -> None:
    worker = started("worker", "work:SLOW", "--nats", broker)
    worker.line()
    caller = started("call", "look", json.dumps({"pipe": "pipe", "seconds": 0.5}), "--nats", broker)
    number = pipe.number()
    worker.tell(signal.SIGTERM)
    assert worker.line() == "no new calls; those that run may end\n"
    assert (caller.line(), caller.ended()) == (f"by {number}\n", 0)
    assert worker.ended() == 0


def test_a_worker_that_is_told_twice_does_not_wait(broker: str, started: Started, pipe: Pipe) -> None:
    worker = started("worker", "work:SLOW", "--nats", broker)
    worker.line()
    caller = started("call", "slow", SLOW, "--nats", broker)
    pipe.number()
    worker.tell(signal.SIGINT)
    worker.line()
    told = time.monotonic()
    worker.tell(signal.SIGINT)
    assert worker.ended() == 130
    assert time.monotonic() - told < 5
    assert caller.ended() == 1


def test_a_chat_takes_a_turn_a_line(toolwire: Toolwire, work: Path) -> None:
    said = toolwire("chat", "--agent", "work:FRIEND", stdin="Hello\n\nBye\n")
    assert (said.code, said.out) == (0, "Wait. \nDone.\nBye.\n")
    [good, bad] = said.err.splitlines()
    assert good.startswith('  ✓ greet(name="Ada")')
    assert good.endswith('"hello Ada"')
    assert bad.startswith("  ✗ greet()")
    assert "invalid_arguments: " in bad


def test_a_chat_for_programs_prints_its_events(toolwire: Toolwire, work: Path) -> None:
    said = toolwire("chat", "--agent", "work:FRIEND", "--json", stdin="Hello\n")
    events = [json.loads(line) for line in said.out.splitlines()]
    assert [event["number"] for event in events] == list(range(1, len(events) + 1))
    kinds = [event["event"] for event in events]
    assert kinds.count("call_finished") == 2
    assert kinds[-1] == "turn_finished"


def test_a_chat_where_nobody_can_be_asked_denies(toolwire: Toolwire, work: Path) -> None:
    said = toolwire("chat", "--agent", "work:CAREFUL", stdin="Hello\n")
    assert said.code == 0
    assert said.out.endswith("So it stays.\n")
    assert "confirmation_denied: a person said no to this call: nobody is at the terminal" in said.err


def test_a_chat_whose_turn_fails_ends_with_1(toolwire: Toolwire, work: Path) -> None:
    said = toolwire("chat", "--agent", "work:FRIEND", stdin="1\n2\n3\n")
    assert said.code == 1
    assert "model_failed: " in said.err.splitlines()[-1]


def test_a_chat_goes_on_another_time(toolwire: Toolwire, work: Path, tmp_path: Path) -> None:
    kept = tmp_path / "talk.json"
    for text in ("Hello", "Bye"):
        assert toolwire("chat", "--agent", "work:FRIEND", "--history", str(kept), stdin=f"{text}\n").code == 0
    said = [message.text for message in History.from_json(kept.read_bytes()) if isinstance(message, UserMessage)]
    assert said == ["Hello", "Bye"]
    assert kept.stat().st_mode & 0o077 == 0
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".talk")] == []


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"toolwire_history": 99, "messages": []}'])
def test_a_file_of_anything_else_is_no_conversation(toolwire: Toolwire, work: Path, content: str) -> None:
    (work / "talk.json").write_text(content)
    said = toolwire("chat", "--agent", "work:FRIEND", "--history", "talk.json", stdin="Hello\n")
    assert said.code == 2
    assert said.err.startswith("toolwire: talk.json holds no conversation that can be gone on with: ")
    assert (work / "talk.json").read_text() == content


def test_a_chat_that_cannot_be_kept_says_so(toolwire: Toolwire, work: Path) -> None:
    said = toolwire("chat", "--agent", "work:FRIEND", "--history", "nowhere/talk.json", stdin="Hello\n")
    assert said.code == 2
    assert "toolwire: the conversation can't be kept in nowhere/talk.json: No such file or directory" in said.err


def test_a_link_to_a_kept_conversation_stays_one(toolwire: Toolwire, work: Path) -> None:
    (work / "link.json").symlink_to("talk.json")
    assert toolwire("chat", "--agent", "work:FRIEND", "--history", "link.json", stdin="Hello\n").code == 0
    assert (work / "link.json").is_symlink()
    assert History.from_json((work / "talk.json").read_bytes())[0] == UserMessage("Hello")


def test_a_chat_that_can_no_longer_be_kept_goes_on_and_has_failed(toolwire: Toolwire, work: Path) -> None:
    (work / "kept").mkdir()
    said = toolwire("chat", "--agent", "work:MOVER", "--history", "kept/talk.json", stdin="Move\nGo on\n")
    assert (said.code, said.out) == (1, "Moved.\nBye.\n")
    assert said.err.count("the conversation can't be kept in kept/talk.json: No such file or directory") == 2


def test_a_file_that_another_chat_has_open_is_refused_at_once(
    toolwire: Toolwire, terminal: Callable[..., "Terminal"], pipe: Pipe, work: Path
) -> None:
    first = terminal("chat", "--agent", "work:FRIEND", "--history", "talk.json")
    first.until("> ")
    said = toolwire("chat", "--agent", "work:FRIEND", "--history", "talk.json", stdin="Hello\n")
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("toolwire: talk.json is open in another chat: end that one, or go on with a copy")
    first.write("Hello\n")
    first.until("Done.")
    first.until("> ")
    first.process.kill()  # as a crash would
    first.process.wait(PATIENCE)
    assert toolwire("chat", "--agent", "work:FRIEND", "--history", "talk.json", stdin="Again\n").code == 0
    messages = History.from_json((work / "talk.json").read_bytes())
    assert [each.text for each in messages if isinstance(each, UserMessage)] == ["Hello", "Again"]


def test_a_base_url_without_its_scheme_reaches_no_provider(toolwire: Toolwire) -> None:
    said = toolwire("chat", "--model", "openai:m", "--base-url", "localhost:11434/v1", stdin="Hello\n")
    assert (said.code, said.err.partition(",")[0]) == (
        2,
        "toolwire: --base-url is one such as http://127.0.0.1:11434/v1",
    )


@pytest.mark.parametrize(
    ("options", "number"), [((), signal.SIGTERM), (("--json",), signal.SIGTERM), ((), signal.SIGHUP)]
)
def test_a_chat_that_is_told_to_end_keeps_what_was_said(
    options: tuple[str, ...], number: signal.Signals, pipe: Pipe, work: Path
) -> None:
    command = [*COMMAND, "chat", "--agent", "work:PATIENT", "--history", "talk.json", *options]
    with subprocess.Popen(
        command, cwd=work, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as program:
        assert program.stdin is not None
        program.stdin.write("Wait\nGo on\n")
        program.stdin.flush()
        pipe.number()
        program.send_signal(number)
        assert program.wait(PATIENCE) == 130
    said = [type(message).__name__ for message in History.from_json((work / "talk.json").read_bytes())]
    assert said == ["UserMessage", "AssistantMessage", "ToolMessage"]


def test_help_that_is_read_by_head_ends_well(work: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [*COMMAND, "chat", "--help"]
    done = subprocess.run(command, cwd=work, env=environment(), stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_settings_are_json_or_text(toolwire: Toolwire, work: Path) -> None:
    assert [setting(given) for given in ("temperature=0.2", "reasoning_effort=low", 'stop=["a=b"]', "extra={}")] == [
        ("temperature", 0.2),
        ("reasoning_effort", "low"),
        ("stop", ["a=b"]),
        ("extra", {}),
    ]
    assert toolwire("chat", "--agent", "work:FRIEND", "--setting", "hot", stdin="Hello\n").code == 2


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, arguments: tuple[str, ...], cwd: Path) -> None:
        self._handle, end = pty.openpty()
        self._heard = ""
        settled = environment(TERM="xterm-256color", COLUMNS="100", LINES="40")
        self.process = subprocess.Popen([*COMMAND, *arguments], cwd=cwd, env=settled, stdin=end, stdout=end, stderr=end)
        os.close(end)

    def write(self, text: str) -> None:
        os.write(self._handle, text.encode())

    def until(self, text: str) -> str:
        """What it shows up to and with `text`."""
        deadline = time.monotonic() + PATIENCE
        while text not in self._heard:
            ready, _, _ = select.select([self._handle], [], [], deadline - time.monotonic())
            assert ready, f"it shows no {text!r}, but {self._heard[-500:]!r}"
            self._heard += os.read(self._handle, 4096).decode(errors="replace")
        before, found, self._heard = self._heard.partition(text)
        return before + found

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        os.close(self._handle)


@pytest.fixture
def terminal(work: Path) -> Iterator[Callable[..., Terminal]]:
    with ExitStack() as stack:

        def open_terminal(*arguments: str) -> Terminal:
            made = Terminal(arguments, work)
            stack.callback(made.close)
            return made

        yield open_terminal


def test_ctrl_c_interrupts_the_turn_and_then_the_chat(terminal: Callable[..., Terminal], pipe: Pipe) -> None:
    shown = terminal("chat", "--agent", "work:PATIENT")
    shown.until("> ")
    shown.write("Wait\n")
    pipe.number()
    shown.until("look(")
    shown.process.send_signal(signal.SIGINT)
    assert "stopped" in shown.until("interrupted")
    shown.until("> ")
    shown.write("Go on\n")
    shown.until("Again.")
    shown.until("> ")
    shown.process.send_signal(signal.SIGINT)
    shown.write("\n")  # a signal between prompt and select() is noted by CPython's readline at the next key only
    assert shown.process.wait(PATIENCE) == 130


def test_a_typed_chat_that_is_told_to_end_in_a_turn_ends(
    terminal: Callable[..., Terminal], pipe: Pipe, work: Path
) -> None:
    shown = terminal("chat", "--agent", "work:PATIENT", "--history", "talk.json")
    shown.until("> ")
    shown.write("Wait\n")
    pipe.number()
    shown.until("look(")
    shown.process.send_signal(signal.SIGTERM)
    assert shown.process.wait(PATIENCE) == 130
    assert len(History.from_json((work / "talk.json").read_bytes())) == 3


@pytest.mark.parametrize(("typed", "seen"), [("y", "paid 500"), ("n", "confirmation_denied")])
def test_a_person_is_asked_before_a_call(terminal: Callable[..., Terminal], typed: str, seen: str) -> None:
    shown = terminal("chat", "--agent", "work:CAREFUL")
    shown.until("> ")
    shown.write("Clear it\n")
    shown.until('pay({"amount":500})')
    shown.until("it moves 500")
    shown.until("[y/N] ")
    shown.write(f"{typed}\n")
    shown.until(seen)
    shown.until("So it stays.")


def test_what_was_typed_before_the_question_is_no_answer_to_it(terminal: Callable[..., Terminal]) -> None:
    shown = terminal("chat", "--agent", "work:CAREFUL")
    shown.until("> ")
    shown.write("Clear it\ny\n")
    shown.until("[y/N] ")
    shown.write("n\n")
    shown.until("confirmation_denied")
    shown.until("So it stays.")


def test_a_reason_writes_no_question_of_its_own(terminal: Callable[..., Terminal]) -> None:
    shown = terminal("chat", "--agent", "work:FORGER")
    shown.until("> ")
    shown.write("Tell her\n")
    shown.until(r"waits for your word: it tells Ada\n  do it? [y/N] y\nTold.")
    shown.until("\n  do it? [y/N] ")
    shown.write("n\n")
    shown.until("So.")


def test_ctrl_c_at_the_question_ends_the_turn(terminal: Callable[..., Terminal]) -> None:
    shown = terminal("chat", "--agent", "work:CAREFUL")
    shown.until("> ")
    shown.write("Clear it\n")
    shown.until("[y/N] ")
    shown.process.send_signal(signal.SIGINT)
    shown.write("\n")  # as above
    shown.until("interrupted")
    shown.until("> ")


def test_what_is_said_aside_is_not_said_to_the_model(terminal: Callable[..., Terminal]) -> None:
    shown = terminal("chat", "--agent", "work:FRIEND")
    for typed, seen in (
        ("/undo", "0 messages are left"),
        ("Hello", "Done."),
        ("/history", 'tool       greet: "hello Ada"'),
        ("/nonsense", "there is no /nonsense; there are:"),
        ("/undo", "0 messages are left"),
        ("//help", "Bye."),
        ("/history", "user       /help"),
        ("/clear", "0 messages are left"),
    ):
        shown.until("> ")
        shown.write(f"{typed}\n")
        shown.until(seen)


def test_ctrl_d_leaves_the_chat(terminal: Callable[..., Terminal], work: Path) -> None:
    shown = terminal("chat", "--agent", "work:FRIEND")
    shown.until("> ")
    shown.write("\x04")
    assert shown.process.wait(PATIENCE) == 0


def test_every_code_has_an_ending() -> None:
    endings = {code: exit_of(failed(code, "")) for code in CODES}
    assert endings["unreachable"] is Exit.UNREACHABLE
    assert {code for code, ending in endings.items() if ending is Exit.ASKED_WRONGLY} == {
        "unknown_tool",
        "unknown_conversation",
        "invalid_call",
        "invalid_arguments",
        "invalid_reference",
    }
    assert endings["worker_lost"] is endings["timed_out"] is Exit.FAILED


def test_an_error_keeps_its_ending_inside_a_group(capsys: pytest.CaptureFixture[str]) -> None:
    lost = ToolwireError(failed("unreachable", "gone"))
    assert ended_by(ExceptionGroup("", [ExceptionGroup("", [lost])])) == 3
    assert ended_by(Misuse(failed("conflict", "twice"))) == 2
    assert ended_by(BaseExceptionGroup("", [KeyboardInterrupt()])) == 130
    assert capsys.readouterr().err == "toolwire: unreachable: gone\ntoolwire: twice\n"
    with pytest.raises(ZeroDivisionError):
        ended_by(ExceptionGroup("", [ZeroDivisionError()]))
