"""The validator answers for the tools it knows, and leaves the others to their owners."""

import subprocess
import sys

import pytest

from toolwire.actors.catalogue import Catalogue
from toolwire.actors.validator import Validator
from toolwire.protocol.failures import ToolwireError
from toolwire.protocol.messages import CallChecked, CheckCall
from toolwire.protocol.tools import ToolSpec
from toolwire.runtime.bus import MemoryBus
from toolwire.runtime.system import ActorSystem

pytestmark = pytest.mark.anyio

CITY = {"type": "object", "properties": {"city": {"type": "string"}, "n": {"type": "integer"}}, "required": ["city"]}


async def checked(tool: str, arguments: str) -> CallChecked | str:
    catalogue = Catalogue(lambda name, _: name)
    catalogue.add(ToolSpec("weather", parameters=CITY), "w")
    catalogue.add(ToolSpec("broken", parameters={"type": "nonsense"}), "w")
    async with ActorSystem(MemoryBus()) as system:
        await system.spawn(Validator(catalogue), "v")
        try:
            return await system.context().ask("v", CheckCall(tool, arguments))
        except ToolwireError as error:
            return error.failure.code


async def test_what_fits_may_run() -> None:
    assert await checked("weather", '{"city": "Paris"}') == CallChecked()


@pytest.mark.parametrize("arguments", ["{}", '{"city": 5}', "[]", "{", ""])
async def test_what_does_not_fit_may_not(arguments: str) -> None:
    assert await checked("weather", arguments) == "invalid_arguments"


async def test_a_megabyte_is_too_much() -> None:
    assert await checked("weather", f'{{"city": "{"x" * 2**20}"}}') == "too_large"


async def test_a_tool_that_is_not_known_here_is_left_to_its_owner() -> None:
    assert await checked("elsewhere", "anything") == CallChecked()


async def test_a_schema_that_is_none_is_refused() -> None:
    assert await checked("broken", "{}") == "invalid_call"


@pytest.mark.parametrize(("arguments", "meant"), [('{"city": "P", "n": "5"}', '{"city":"P","n":5}')])
async def test_what_was_meant_is_told(arguments: str, meant: str) -> None:
    checked_call = await checked("weather", arguments)
    assert isinstance(checked_call, CallChecked)
    assert checked_call.arguments == meant
    assert [m.what for m in checked_call.mended] == ["a number in quotes"]


READY = """
import sys, threading
import anyio
from toolwire import Runtime, tool
from toolwire.protocol.messages import CheckCall

@tool
async def work(n: int) -> int:
    return n

async def main():
    async with Runtime() as runtime:
        print("jsonschema" in sys.modules)
        if sys.argv[1] == "serves":
            await runtime.serve(work)
        else:
            system = runtime.system
            await system.context().ask(system.door("validator", system.bus.instance), CheckCall("far", "{}"))
        [thread] = [each for each in threading.enumerate() if each.name == "toolwire explanation"] or [None]
        if thread is not None:
            thread.join()
        print("jsonschema" in sys.modules, thread is None or thread.daemon)

anyio.run(main, backend=sys.argv[2])
"""


@pytest.mark.parametrize("who", ["serves", "checks"])
def test_what_explains_is_loaded_beside_the_loop_before_it_is_needed(who: str, anyio_backend: str) -> None:
    program = [sys.executable, "-c", READY, who, anyio_backend]
    done = subprocess.run(program, check=True, capture_output=True, text=True, timeout=20)
    assert done.stdout.split() == ["False", "True", "True"]
