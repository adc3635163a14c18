"""Conversations that nobody here wrote, over eight stateful backends that nobody here wrote.

Each turn's calls go out as *one* parallel batch. What comes back, and the state of every backend at the end, must be
what the backends alone gave one after the other. Two kinds of calls can't be equal, and are counted: those that
return what JSON can't carry, and those whose arguments are not of the types that the backend itself declares.
"""

import ast
import copy
import importlib
import json
import secrets
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from toolwire import Runtime, ToolCall, ToolResult

ROOT = Path(__file__).parents[2]
BACKENDS = ROOT / "tests" / "data" / "bfcl_backends"
SHARED = ROOT.parent / "shared" / "data" / "bfcl"
"""All 560 conversations, where a machine has them."""

MODULES = {
    "GorillaFileSystem": "gorilla_file_system",
    "MathAPI": "math_api",
    "MessageAPI": "message_api",
    "TicketAPI": "ticket_api",
    "TradingBot": "trading_bot",
    "TravelAPI": "travel_booking",
    "TwitterAPI": "posting_api",
    "VehicleControlAPI": "vehicle_control",
}

MISTYPED = [("close_ticket", {"ticket_id": "ticket_001"})]
"""Calls that break their own backend's annotation (`ticket_id: int`). Alone it takes them and closes the ticket;
Toolwire refuses them before they start, and the ticket stays open."""

UNSPEAKABLE = object()
"""Stands for a recorded result that JSON can't carry."""

Conversation = dict[str, Any]


class Outcome(NamedTuple):
    """How many calls ended in which way, and a line for each result or state that is not as recorded."""

    ways: Counter[str]
    differences: list[str]


def lines(path: Path) -> list[Conversation]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def copied() -> list[Conversation]:
    return lines(BACKENDS / "conversations.jsonl")


def every() -> list[Conversation]:
    if not SHARED.is_dir():
        pytest.skip("the other conversations are not on this machine")
    configs = {entry["id"]: entry["initial_config"] for entry in lines(SHARED / "multi_turn.jsonl")}
    recorded = lines(SHARED / "multi_turn_expected.jsonl")
    return [{**entry, "initial_config": configs[entry["id"]]} for entry in recorded]


def backend(name: str) -> type[Any]:
    """The class of a backend. Their folder is no installed package, so a module stands in for it."""
    if "bfcl_backends" not in sys.modules:
        package = ModuleType("bfcl_backends")
        package.__path__ = [str(BACKENDS)]
        sys.modules["bfcl_backends"] = package
    found: type[Any] = getattr(importlib.import_module(f"bfcl_backends.{MODULES[name]}"), name)
    return found


def loaded(conversation: Conversation) -> dict[str, Any]:
    """A fresh instance of each backend of the conversation. They change what they are given: it gets a copy."""
    instances = {name: backend(name)() for name in conversation["classes"]}
    for name, instance in instances.items():
        if name != "MathAPI":  # it has no state
            config = copy.deepcopy(conversation["initial_config"].get(name, {}))
            instance._load_scenario(config, long_context="long_context" in conversation["cat"])
    return instances


def plain(value: Any) -> Any:
    """A part of a backend's state as JSON, in the way of the recorded one."""
    match type(value).__name__:
        case "File":
            return {"file": value.name, "content": value.content}
        case "Directory":
            return {"dir": value.name, "contents": {name: plain(item) for name, item in value.contents.items()}}
        case "dict":
            return {str(key): plain(item) for key, item in value.items()}
        case "list" | "tuple":
            return [plain(item) for item in value]
        case "str" | "int" | "float" | "bool" | "NoneType":
            return value
        case _:
            return str(value)


def state(instance: Any) -> dict[str, Any]:
    return {name: plain(value) for name, value in vars(instance).items() if not name.startswith("_")}


def alone(conversation: Conversation, *, mistyped: bool = True) -> dict[str, Any]:
    """The instances after all calls without Toolwire, one after the other; results are checked on the way.

    Without `mistyped` the calls that break their backend's annotation are left out.
    """
    instances = loaded(conversation)
    for turn in conversation["turns"]:
        for call in turn:
            if mistyped or (call["name"], call["args"]) not in MISTYPED:
                result = getattr(instances[call["cls"]], call["name"])(**copy.deepcopy(call["args"]))
                assert written(result) == call["result"]
    return instances


def written(result: Any) -> str:
    """A result as the leaderboard's own executor writes it down."""
    if isinstance(result, dict):
        try:
            return json.dumps(result)
        except TypeError:
            pass
    return str(result)


def recorded(text: str) -> Any:
    """The value that a written result stands for, or UNSPEAKABLE."""
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return ast.literal_eval(text)  # str() of None and of lists
    except ValueError:  # an mpf, an Ellipsis
        return UNSPEAKABLE


def way(call: dict[str, Any], result: ToolResult[Any]) -> str:
    """In which of the right ways a call ended, or how it did not."""
    expected = recorded(call["result"])
    if result.failure is None:
        return "equal" if result.value == expected else f"returned {result.content}"
    if expected is UNSPEAKABLE and (result.failure.code, result.failure.effect) == ("invalid_result", "done"):
        return "invalid_result"
    mistyped = (call["name"], call["args"]) in MISTYPED
    if mistyped and (result.failure.code, result.failure.effect) == ("invalid_arguments", "none"):
        return "invalid_arguments"
    return f"failed: {result.failure} (effect {result.failure.effect})"


RIGHT = {"equal", "invalid_result", "invalid_arguments"}


async def replay(runtime: Runtime, conversation: Conversation, outcome: Outcome) -> None:
    """Serve the backends of a conversation, send each turn as one batch, note what differs."""
    instances = loaded(conversation)
    served = await runtime.serve(*instances.values())
    for number, turn in enumerate(conversation["turns"]):
        batch = [ToolCall(str(place), call["name"], call["args"]) for place, call in enumerate(turn)]
        results = await runtime.call_many(batch)
        assert [result.id for result in results] == [call.id for call in batch]
        for call, result in zip(turn, results, strict=True):
            ended = way(call, result)
            outcome.ways[ended if ended in RIGHT else "wrong"] += 1
            if ended not in RIGHT:
                outcome.differences.append(
                    f"{conversation['id']}, turn {number}: {call['name']}({call['args']}) {ended}, not {call['result']}"
                )
    await served.stop()
    for name, expected in alone(conversation, mistyped=False).items():
        if state(instances[name]) != state(expected):
            outcome.differences.append(f"{conversation['id']}: the state of {name} is {state(instances[name])}")


async def replayed(url: str, conversations: list[Conversation]) -> Outcome:
    outcome = Outcome(Counter(), [])
    async with Runtime(url, namespace=secrets.token_hex(8), local=False) as runtime:
        for conversation in conversations:
            await replay(runtime, conversation, outcome)
    return outcome


@pytest.fixture(params=["memory", "nats"])
def bus(request: pytest.FixtureRequest) -> str:
    url: str = "memory://" if request.param == "memory" else request.getfixturevalue("nats_url")
    return url


@pytest.mark.parametrize("conversations", [copied, every])
def test_the_backends_alone_give_what_was_recorded(conversations: Callable[[], list[Conversation]]) -> None:
    """Else a difference below would say nothing about Toolwire."""
    for conversation in conversations():
        for name, instance in alone(conversation).items():
            assert state(instance) == conversation["final_state"][name]


def test_the_copied_conversations_use_every_backend_and_mix_them_in_one_turn() -> None:
    turns = [turn for conversation in copied() for turn in conversation["turns"]]
    assert {call["cls"] for turn in turns for call in turn} == set(MODULES)
    assert sum(len({call["cls"] for call in turn}) > 1 for turn in turns) >= 3


@pytest.mark.anyio
async def test_copied_conversations_end_as_recorded(bus: str) -> None:
    outcome = await replayed(bus, copied())
    assert outcome.differences == []
    assert outcome.ways == {"equal": 113, "invalid_result": 3, "invalid_arguments": 1}


@pytest.mark.slow
@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_all_conversations_end_as_recorded(anyio_backend: str) -> None:
    outcome = await replayed("memory://", every())
    assert outcome.differences == []
    assert outcome.ways == {"equal": 3165, "invalid_result": 28, "invalid_arguments": 4}


@pytest.mark.slow
@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_every_fifth_conversation_ends_as_recorded_over_nats(nats_url: str, anyio_backend: str) -> None:
    """What the backends do is the same on each bus; most of the time here goes into serving them anew."""
    outcome = await replayed(nats_url, every()[::5])
    assert outcome.differences == []
    assert outcome.ways == {"equal": 675, "invalid_result": 8}
