"""`toolwire call`: one call of one tool."""

import os
import sys
from typing import Annotated, Any

import anyio
import msgspec
from cyclopts import Parameter

from ....protocol.failures import Failure, Misuse, failed
from ....protocol.tools import ToolResult
from ..console import harmless, output
from .exits import Exit, as_by_ctrl_c, exit_of
from .options import Json, Namespace, Nats, Tools, joined

ARGUMENTS = """Its arguments as JSON, such as '{"city": "Paris"}'; - reads them from standard input."""
YES = "Confirm the call where a person is to be asked about it."


def call(
    name: Annotated[str, Parameter(help="The tool's name.", show_env_var=False)],
    arguments: Annotated[str, Parameter(help=ARGUMENTS, allow_leading_hyphen=True, show_env_var=False)] = "{}",
    /,
    *,
    nats: Nats = None,
    namespace: Namespace = "default",
    tools: Tools = (),
    timeout: Annotated[float | None, Parameter(help="Seconds that the call may take.")] = None,
    yes: Annotated[bool, Parameter(help=YES, negative=(), show_env_var=False)] = False,
    json: Json = False,
) -> int:
    """Call one tool, and print what it returns."""
    if arguments.startswith("-") and arguments != "-":  # no JSON object starts so
        raise Misuse(failed("invalid_call", f"Unknown option: {arguments}; see toolwire call --help"))
    given = mapping(sys.stdin.buffer.read() if arguments == "-" else os.fsencode(arguments))
    if timeout is not None and not timeout > 0:
        raise Misuse(failed("invalid_call", f"--timeout must be more than 0 s, not {timeout:g}"))

    async def turn() -> ToolResult[Any]:
        async with joined(nats, namespace, tools) as runtime:
            with output(stderr=True).status(f"{name} runs"):
                result = await runtime.call(name, given, timeout=timeout)
                token = asked(result)
                return result if token is None or not yes else await runtime.confirm(token, timeout=timeout)

    with as_by_ctrl_c():
        result = anyio.run(turn)
    out = output()
    if json:
        out.out(as_json(result))
    elif result.content is not None:
        out.out(readable(result.content))
    if result.failure is None:
        return Exit.DONE
    output(stderr=True).print(said(result.failure), soft_wrap=True)
    if asked(result) is not None:
        arguments = harmless(str(result.failure.details.get("arguments", "")))
        output(stderr=True).out(f"its arguments: {arguments}\nto confirm it, give the same command with --yes")
    return exit_of(result.failure)


def asked(result: ToolResult[Any]) -> str | None:
    """The token of a call that a person has to confirm first; None of any other."""
    failure = result.failure
    if failure is None or failure.code != "confirmation_required":
        return None
    token = failure.details.get("token")
    return token if isinstance(token, str) else None


def mapping(text: bytes) -> dict[str, Any]:
    """The arguments. Raises Misuse for what is no JSON object."""
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.ValidationError as error:
        shown = text.decode(errors="replace").strip()
        what = f"can't be read: {error}" if shown.startswith("{") else f"are no object: {shown:.100}"
        raise Misuse(failed("invalid_arguments", f"the arguments are JSON, but {what}")) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Misuse(failed("invalid_arguments", f"the arguments are no JSON: {error}")) from None


def as_json(result: ToolResult[Any]) -> str:
    """A result in one line, its value as it is and not as text in text."""
    whole = msgspec.to_builtins(result)
    whole.pop("content", None)
    value = {} if result.content is None else {"value": msgspec.Raw(result.content.encode())}
    return msgspec.json.encode({"ok": result.ok, **value, **whole}).decode()


def readable(content: str) -> str:
    """A text as it is, anything else as indented JSON."""
    value = msgspec.json.decode(content)
    text = value if isinstance(value, str) else msgspec.json.format(content, indent=2)
    return harmless(text)


def said(failure: Failure) -> str:
    """A failure in a sentence, with its code."""
    return harmless(str(failure))
