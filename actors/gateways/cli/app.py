"""The commands, where their settings come from, and the one place where what they raise becomes a sentence."""

import importlib.metadata
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError, UnusedCliTokensError

from ....protocol.failures import Misuse, ToolwireError
from ..console import Output, harmless, output, settle
from .audit import audit
from .broker import broker
from .call import call
from .chat import chat
from .demo import demo
from .exits import MEANINGS, Exit, exit_of
from .plan import plan
from .settings import Environment, File
from .tools import tools
from .worker import worker

ENDINGS = "\n".join(f"  {code:>4}  {meaning}" for code, meaning in MEANINGS.items())

EPILOGUE = f"""How a command ends:

{ENDINGS}

Each option may also stand, from strongest to weakest, in the environment (TOOLWIRE_NATS=nats://…), in toolwire.toml \
or in [tool.toolwire] of pyproject.toml, of this directory or one above it (nats = "nats://…").
"""

app = App(
    name="toolwire",
    help="LLM tool calls as actors: in one process, or over NATS.",
    help_format="plaintext",
    help_epilogue=EPILOGUE,
    version=lambda: importlib.metadata.version("toolwire"),
    console=Output(),  # help, too, may be read by `head`
    suppress_keyboard_interrupt=False,  # it would call sys.exit
    config=(Environment("TOOLWIRE_", command=False), File("toolwire.toml"), File("pyproject.toml", "tool", "toolwire")),
)
for command in (demo, broker, worker, chat, tools, call, plan, audit):
    app.command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; what it raises on purpose becomes a sentence on standard error. The exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    settle()
    try:
        code: int | None = app(given, exit_on_error=False, print_error=False, result_action="return_value")
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except UnusedCliTokensError as error:
        spare = " ".join(error.unused_tokens or ())
        option = "an agent is given as --agent" if given[:1] == ["chat"] else "tools are given as --tools"
        meant = f" ({option} {spare})" if ":" in spare and " " not in spare else ""
        return complained(f"nobody knows what to do with: {spare}{meant}; see toolwire --help", Exit.ASKED_WRONGLY)
    except CycloptsError as error:
        sentence = " ".join(str(error).split()).rstrip(".")
        return complained(f"{sentence}; see toolwire --help", Exit.ASKED_WRONGLY)
    except (ToolwireError, BaseExceptionGroup, SystemExit) as error:
        return ended_by(error)
    return int(code or Exit.DONE)


def ended_by(error: BaseException) -> int:
    """The exit code for what a command raised. Raises it again if it was not on purpose."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    match error:
        case KeyboardInterrupt():
            return Exit.INTERRUPTED
        case SystemExit():  # never ours
            return complained(f"what was loaded or served here called sys.exit({error.code!r})", Exit.FAILED)
        case Misuse():
            return complained(error.failure.message, Exit.ASKED_WRONGLY)
        case ToolwireError():
            return complained(str(error.failure), exit_of(error.failure))
        case _:
            raise error


def complained(sentence: str, code: Exit) -> int:
    """Say what is wrong."""
    output(stderr=True).print(f"toolwire: {harmless(sentence)}", soft_wrap=True)
    return code
