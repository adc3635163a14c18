"""A person's word, where it is enforced: at the process that serves the tool, whoever asks it and whatever they say."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from hmac import digest
from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec import Raw
from msgspec.structs import replace

from toolwire import Failure, Misuse, Runtime, Secret, Tool, lazy, tool
from toolwire.actors.confirmations import OUTSTANDING, SECONDS, Confirmations
from toolwire.protocol.confirmation import Claim, Seal, decode, exact, text_of, torn
from toolwire.protocol.envelope import Trail, encode
from toolwire.protocol.history import tool_message
from toolwire.protocol.messages import CallEnded, CallTool
from toolwire.protocol.tools import ToolResult
from toolwire.runtime.context import outside
from toolwire.runtime.testing import ManualClock

pytestmark = pytest.mark.anyio

CORPUS = Path(__file__).parents[1] / "corpus" / "confirmation_forgeries.jsonl"
FORGERIES = [json.loads(line) for line in CORPUS.read_text(encoding="utf-8").splitlines()]
CALL = CallTool("call_1", "transfer", '{"amount": 500, "to": "me"}')
CALLER = '{"user":"u1"}'


class Bank:
    """A runtime that serves two tools which ask, on a clock that stands still, and what they did."""

    def __init__(self, runtime: Runtime, clock: ManualClock) -> None:
        self.runtime = runtime
        self.clock = clock
        self.done: list[tuple[int, str]] = []

    async def ask(self, message: CallTool, caller: str = CALLER) -> CallEnded:
        """As anybody on the bus may ask."""
        system = self.runtime.system
        context = outside(system, Raw(encode(Trail("conversation", "turn", caller))))
        return await context.ask(system.door("tool", message.tool), message)

    async def token(self, message: CallTool = CALL, caller: str = CALLER) -> str:
        failure = (await self.ask(message, caller)).failure
        assert failure is not None
        assert failure.code == "confirmation_required"
        return str(failure.details["token"])


@asynccontextmanager
async def bank(most: int = OUTSTANDING, **options: Any) -> AsyncIterator[Bank]:
    clock = ManualClock()
    async with Runtime(secret="a secret of 16 bytes or more", **options) as runtime:
        made = Bank(runtime, clock)

        @tool(confirm=lambda a: a.amount > 100 and f"it moves {a.amount} to {a.to}", destructive=True)
        async def transfer(amount: int, to: str = "nobody") -> str:
            made.done.append((amount, to))
            return "done"

        @tool(confirm=True)
        async def refund(amount: int, to: str) -> str:
            made.done.append((amount, to))
            return "done"

        workshop = runtime._workshop
        workshop.confirmations = Confirmations(workshop.worker, clock, runtime._terms.key, most=most)
        await runtime.serve(transfer, refund)
        yield made


def resealed(real: str, worker: str, key: str) -> str:
    """The same words, sealed with another key."""
    claim = Claim(worker, CALL.id, CALL.tool, CALLER, exact(CALL.arguments, json.loads(CALL.arguments)))
    words = decode(torn(real)[0])
    return Seal((worker if key == "instance" else key).encode()).token(claim, words.expires, words.nonce)


def reworded(real: str, changes: dict[str, Any]) -> str:
    """Other words under the same seal."""
    changed = {key: value.encode() if key == "nonce" else value for key, value in changes.items()}
    head, _, seal = real.split(".")
    return f"{head}.{text_of(encode(replace(decode(torn(real)[0]), **changed)))}.{seal}"


def rehashed(real: str, algorithm: str) -> str:
    """The same words, under what needs no key."""
    said = torn(real)[0]
    return real.rpartition(".")[0] + "." + text_of(digest(b"", said, algorithm))


PARTS = ("head", "said", "seal")
FORGERS: dict[str, Callable[..., str]] = {
    "real": lambda real, _: real,
    "text": lambda _real, _worker, text: text,
    "repeat": lambda _real, _worker, text, times: text * times,
    "parts": lambda real, _, *names: ".".join(dict(zip(PARTS, real.split("."), strict=True)).get(n, n) for n in names),
    "slice": lambda real, _, start, end: real[start:end],
    "around": lambda real, _, before, after: before + real + after,
    "swap": lambda real, _, one, other: real.replace(one, other),
    "swap64": lambda real, _: real.replace("-", "+").replace("_", "/") + "+/",
    "lower": lambda real, _: real.lower(),
    "key": resealed,
    "hash": lambda real, _, algorithm: rehashed(real, algorithm),
    "words": lambda real, _, changes: reworded(real, changes),
}
"""How a row of the corpus makes a token: of a real one, of the name of the process that issued that, of its own."""


@pytest.mark.parametrize("row", FORGERIES, ids=lambda row: row["id"])
async def test_what_is_forged_does_nothing(row: dict[str, Any]) -> None:
    async with bank() as it:
        real = await it.token()
        spent = row.get("spent", False)
        if spent:
            assert (await it.ask(replace(CALL, token=real))).content == '"done"'
        it.clock.advance(row.get("after", 0.0))
        forger, *how = row["token"]
        token = FORGERS[forger](real, it.runtime._workshop.worker, *how)
        assert token != real or row["token"] == ["real"]
        before = list(it.done)
        failure = (await it.ask(replace(CALL, token=token, **row.get("call", {})), row.get("caller", CALLER))).failure
        assert failure is not None
        assert (failure.code, failure.effect, failure.details) == ("invalid_confirmation", "none", {})
        assert row.get("said", "not one that was given out here") in failure.message
        assert it.done == before
        if not spent and "after" not in row:  # and the real one still counts, once
            assert (await it.ask(replace(CALL, token=real))).content == '"done"'
        assert len(it.done) <= 1


def test_the_corpus_is_large_enough() -> None:
    assert len(FORGERIES) >= 40
    assert len({row["id"] for row in FORGERIES}) == len(FORGERIES)


async def test_two_who_confirm_at_once_have_one_effect() -> None:
    async with bank() as it:
        token = await it.token()
        ended: list[CallEnded] = []

        async def confirm() -> None:
            ended.append(await it.ask(replace(CALL, token=token)))

        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(confirm)
    assert it.done == [(500, "me")]
    codes = sorted("" if each.failure is None else each.failure.code for each in ended)
    assert codes == ["", *["invalid_confirmation"] * 7]


async def test_a_person_may_give_other_arguments() -> None:
    async with bank() as it:
        token = await it.token()
        changed = replace(CALL, token=token, changed=True, arguments='{"amount": 250, "to": "me"}')
        assert (await it.ask(changed)).content == '"done"'
        assert it.done == [(250, "me")]


async def test_arguments_that_do_not_fit_spend_nothing() -> None:
    async with bank() as it:
        token = await it.token()
        wrong = await it.ask(replace(CALL, token=token, changed=True, arguments='{"amount": "much"}'))
        assert wrong.failure is not None
        assert wrong.failure.code == "invalid_arguments"
        assert (await it.ask(replace(CALL, token=token))).content == '"done"'


async def test_the_same_arguments_may_be_written_otherwise() -> None:
    async with bank() as it:
        token = await it.token()
        assert (await it.ask(replace(CALL, token=token, arguments='{"to":"me","amount":500}'))).content == '"done"'


async def test_what_is_asked_for_and_how() -> None:
    async with bank() as it:
        failure = (await it.ask(CALL)).failure
        assert failure is not None
        assert failure.message == "a person has to confirm this call of 'transfer' first: it moves 500 to me"
        assert (failure.effect, failure.retryable) == ("none", False)
        del failure.details["token"]
        assert failure.details == {
            "seconds": SECONDS,
            "reason": "it moves 500 to me",
            "arguments": '{"amount":500,"to":"me"}',
        }
        assert (await it.ask(replace(CALL, arguments='{"amount": 100}'))).content == '"done"'
        assert (await it.ask(replace(CALL, arguments='{"amount": 101}'))).failure is not None  # by its default: nobody


async def test_whoever_calls_may_demand_it_too() -> None:
    async with bank() as it:
        small = replace(CALL, arguments='{"amount": 1}', confirm="it was read on the web")
        failure = (await it.ask(small)).failure
        assert failure is not None
        assert failure.details["reason"] == "it was read on the web"
        assert (await it.ask(replace(small, token=failure.details["token"]))).content == '"done"'
        both = (await it.ask(replace(CALL, confirm="it was read on the web"))).failure
        assert both is not None
        assert both.details["reason"] == "it moves 500 to me; it was read on the web"


async def test_a_token_is_looked_at_even_where_none_is_needed() -> None:
    async with bank() as it:
        ended = await it.ask(replace(CALL, arguments='{"amount": 1}', token="tw1.a.b"))
        assert ended.failure is not None
        assert ended.failure.code == "invalid_confirmation"
        assert it.done == []


async def test_where_too_many_wait_whoever_asks_most_loses_the_oldest() -> None:
    async with bank(most=4) as it:
        other = await it.token(caller='{"user":"u2"}')
        tokens = [await it.token() for _ in range(5)]
        assert len(it.runtime._workshop.confirmations) == 4
        for token in tokens[:2]:
            failure = (await it.ask(replace(CALL, token=token))).failure
            assert failure is not None
            assert (failure.code, failure.effect) == ("invalid_confirmation", "none")
            assert "too many" in failure.message
        assert (await it.ask(replace(CALL, token=other), '{"user":"u2"}')).content == '"done"'
        assert [(await it.ask(replace(CALL, token=token))).content for token in tokens[2:]] == ['"done"'] * 3
        assert len(it.done) == 4


async def test_what_has_expired_makes_room_first() -> None:
    async with bank(most=3) as it:
        await it.token()
        it.clock.advance(SECONDS)
        kept = [await it.token() for _ in range(3)]
        assert [(await it.ask(replace(CALL, token=token))).content for token in kept] == ['"done"'] * 3


async def test_room_is_made_for_more_than_one_at_once() -> None:
    async with bank(most=200) as it:
        sizes = set()
        for _ in range(210):
            await it.token()
            sizes.add(len(it.runtime._workshop.confirmations))
        assert max(sizes) == 200
        assert len(it.runtime._workshop.confirmations) == 200


async def test_secrets_are_sealed_but_not_shown() -> None:
    @tool(confirm=True)
    async def login(user: str, password: Secret[str]) -> str:
        return password.reveal()

    async with bank() as it:
        await it.runtime.serve(login)
        message = CallTool("c", "login", '{"user": "u", "password": "hunter22"}')
        failure = (await it.ask(message)).failure
        assert failure is not None
        assert failure.details["arguments"] == '{"user":"u","password":"***"}'
        assert "hunter22" not in repr(failure)
        token = failure.details["token"]
        other = await it.ask(replace(message, token=token, arguments='{"user": "u", "password": "hunter23"}'))
        assert other.failure is not None
        assert (await it.ask(replace(message, token=token))).content == '"hunter22"'


async def test_a_person_sees_what_the_tool_will_get() -> None:
    @tool(confirm=True, sanitize={"path": lambda path: f"/home/{path}"})
    async def remove(path: str, times: int) -> str:
        return path * times

    async with bank() as it:
        await it.runtime.serve(remove)
        message = CallTool("c", "remove", '{"path": "a", "times": "2"}')
        failure = (await it.ask(message)).failure
        assert failure is not None
        assert failure.details["arguments"] == '{"path":"/home/a","times":2}'
        assert (await it.ask(replace(message, token=failure.details["token"]))).content == '"/home/a/home/a"'


async def test_nobody_is_shown_another_text_than_the_one_that_is_there() -> None:
    async with bank() as it:
        message = replace(CALL, arguments='{"amount": 500, "to": "\u202e\u200bbob"}')
        failure = (await it.ask(message)).failure
        assert failure is not None
        assert failure.details["arguments"] == '{"amount":500,"to":"\\u202e\\u200bbob"}'
        assert failure.details["reason"] == "it moves 500 to \\u202e\\u200bbob"
        assert (await it.ask(replace(message, token=failure.details["token"]))).content == '"done"'


async def test_what_becomes_of_arguments_between_asking_and_running_counts() -> None:
    led: Iterator[str] = iter(["/home/a", "/etc/passwd", "/home/a"])

    @tool(confirm=True, sanitize={"path": lambda _: next(led)})
    async def remove(path: str) -> str:
        return path

    async with bank() as it:
        await it.runtime.serve(remove)
        message = CallTool("c", "remove", '{"path": "link"}')
        token = await it.token(message)
        swapped = await it.ask(replace(message, token=token))
        assert swapped.failure is not None
        assert "other arguments" in swapped.failure.message
        assert (await it.ask(replace(message, token=token))).content == '"/home/a"'


async def test_nobody_is_asked_about_what_nobody_reads() -> None:
    async with bank() as it:
        long = replace(CALL, arguments=json.dumps({"amount": 500, "to": "x" * 70_000}))
        failure = (await it.ask(long)).failure
        assert failure is not None
        assert (failure.code, failure.effect) == ("too_large", "none")
        assert len(it.runtime._workshop.confirmations) == 0


async def test_a_rule_that_can_not_tell_asks() -> None:
    @tool(confirm=lambda a: a.there_is_no_such > 1)
    async def send(text: str) -> str:
        return text

    async with bank() as it:
        await it.runtime.serve(send)
        failure = (await it.ask(CallTool("c", "send", '{"text": "t"}'))).failure
        assert failure is not None
        assert failure.details["reason"] == "the rule that decides whether to ask could not (AttributeError)"


async def test_tools_of_every_kind_ask() -> None:
    class Files:
        @tool(confirm=True)
        async def wipe(self) -> str:
            return "wiped"

    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    by_schema = Tool.from_schema("drop", "", schema, lambda a: a["n"], confirm=lambda a: a.n > 1)

    @tool(confirm=True)
    def in_thread(n: int) -> int:
        return n

    async with bank() as it:
        await it.runtime.serve(Files(), by_schema, in_thread, lazy("later", lambda: in_thread))
        assert it.runtime.tools["wipe"].confirm == "always"
        assert it.runtime.tools["drop"].confirm == "maybe"
        for message, content in [
            (CallTool("1", "wipe", "{}"), '"wiped"'),
            (CallTool("2", "drop", '{"n": 2}'), "2"),
            (CallTool("3", "in_thread", '{"n": 3}'), "3"),
            (CallTool("4", "later", '{"n": 4}'), "4"),
        ]:
            token = await it.token(message)
            assert (await it.ask(replace(message, token=token))).content == content
        assert (await it.ask(CallTool("2", "drop", '{"n": 1}'))).content == "1"


async def test_another_process_does_not_know_the_token() -> None:
    async with bank() as one, bank() as other:
        failure = (await other.ask(replace(CALL, token=await one.token()))).failure
        assert failure is not None
        assert "another process" in failure.message
        assert other.done == []


async def test_a_trail_that_is_none_is_no_caller() -> None:
    async with bank() as it:
        system = it.runtime.system
        lying = outside(system, Raw(encode("whoever you like")))
        ended = await lying.ask(system.door("tool", "transfer"), CALL)
        assert ended.failure is not None
        assert ended.failure.code == "invalid_message"
        assert it.done == []


@pytest.mark.parametrize("secret", ["", "short", b"15 bytes of key"])
def test_a_secret_that_can_be_guessed_is_refused(secret: str | bytes) -> None:
    with pytest.raises(Misuse, match="16 bytes or more"):
        Runtime(secret=secret)


async def test_what_is_no_rule_is_refused() -> None:
    async def later(_: Any) -> bool:
        return True

    for rule in ("yes", 1, later):
        with pytest.raises(Misuse, match="confirm is True, or a function"):

            @tool(confirm=rule)  # type: ignore[arg-type]  # it is refused
            async def send() -> None: ...


def test_a_failure_is_what_the_model_hears_of_without_the_token() -> None:
    failure = Failure("confirmation_required", "ask", details={"token": "tw1.a.b", "reason": "r"})
    told = tool_message(ToolResult("c", "transfer", None, failure)).content
    assert "tw1" not in told
    assert '"reason":"r"' in told
