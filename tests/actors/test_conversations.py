"""Conversations with a name: opened once, gone on with, by another agent too; many of them, one turn each at a time."""

import gc
import weakref
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from strict.judge import FORMATS, objection_to
from toolwire import (
    Agent,
    AssistantMessage,
    Chat,
    Context,
    Misuse,
    ModelReply,
    ModelRequest,
    Reply,
    Runtime,
    SystemMessage,
    ToolCall,
    ToolMessage,
    ToolwireError,
    UserMessage,
    scripted,
    tool,
)
from toolwire.actors.claiming import GREETING, Claiming
from toolwire.protocol.messages import Complete, Greet, Greeted
from toolwire.runtime.actor import Actor
from toolwire.runtime.bus.contract import Closed
from toolwire.runtime.context import Context as ActorContext
from toolwire.runtime.context import bus_failure

pytestmark = pytest.mark.anyio


async def test_another_agent_goes_on_from_its_next_turn_with_what_was_said() -> None:
    first, second = scripted(["hello", "late"]), scripted(["bonjour"])
    english, french = Agent("english", first, "Speak English."), Agent("french", second, "Speak French.")
    async with Runtime() as runtime:
        chat = await runtime.converse(english, id="c")
        await chat.say("hi")
        assert await runtime.converse(french, id="c") is chat
        assert chat.history()[0] == SystemMessage("Speak English.")
        assert (await chat.say("salut")).text == "bonjour"
        assert chat.history() == [
            SystemMessage("Speak French."),
            UserMessage("hi"),
            AssistantMessage("hello"),
            UserMessage("salut"),
            AssistantMessage("bonjour"),
        ]
        assert await runtime.converse(Agent("french", second, "Speak French."), id="c") is chat  # the same again
        await runtime.converse(english, id="c")
        assert (await chat.say("back")).text == "late"
    assert list(second.requests[0].messages) == [SystemMessage("Speak French."), *chat.history()[1:4]]
    assert list(first.requests[1].messages) == [SystemMessage("Speak English."), *chat.history()[1:6]]


async def test_another_provider_is_told_no_id_of_a_call_twice() -> None:
    def calling() -> Any:
        return scripted([ToolCall("call_0", "double", {"n": 2}), "4"])

    async with Runtime() as runtime:
        chat = await runtime.converse(model=calling(), id="c", tools=[double])
        await chat.say("two?")
        await runtime.converse(model=calling(), id="c", tools=[double])
        await chat.say("again?")
        last = scripted(["eight"])
        await runtime.converse(model=last, id="c", tools=[double])
        assert (await chat.say("and four?")).text == "eight"
        told = list(last.requests[0].messages)
    assert [objection_to(name, told) for name in FORMATS] == ["", "", ""]
    assert [message.content for message in told if isinstance(message, ToolMessage)] == ["4", "4"]


async def test_a_turn_that_runs_ends_with_the_agent_it_began_with() -> None:
    go = anyio.Event()

    async def slow(_request: ModelRequest) -> str:
        await go.wait()
        return "old"

    async with Runtime() as runtime:
        chat = await runtime.converse(model=scripted([slow]), system="old", id="c")
        replies: list[str] = []

        async def say(text: str) -> None:
            replies.append((await chat.say(text)).text)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(say, "one")
            await anyio.wait_all_tasks_blocked()
            await runtime.converse(model=scripted(["new"]), system="new", id="c")
            tasks.start_soon(say, "two")
            await anyio.wait_all_tasks_blocked()
            go.set()
        assert replies == ["old", "new"]
        assert [each.text for each in chat.history() if isinstance(each, UserMessage)] == ["one", "two"]
        assert chat.history()[0] == SystemMessage("new")


async def test_an_agent_without_a_system_leaves_none() -> None:
    async with Runtime() as runtime:
        chat = await runtime.converse(model=scripted([]), system="a pirate", id="c")
        await runtime.converse(model=scripted(["good day"]), id="c")
        await chat.say("hi")
        assert chat.history() == [UserMessage("hi"), AssistantMessage("good day")]


async def test_the_new_agent_says_what_becomes_of_who_comes_while_a_turn_runs() -> None:
    go = anyio.Event()

    async def slow(_request: ModelRequest) -> str:
        await go.wait()
        return "done"

    async with Runtime() as runtime, anyio.create_task_group() as tasks:
        chat = await runtime.converse(model=scripted(["hi"]), id="c")
        await runtime.converse(model=scripted([slow]), id="c", when_busy="refuse")
        tasks.start_soon(chat.say, "one")
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(ToolwireError, match="a turn of this conversation is running"):
            await chat.say("two")
        go.set()


async def test_the_names_of_those_that_are_open() -> None:
    async with Runtime() as runtime:
        for name in ("a", "b"):
            await runtime.converse(model=scripted([]), id=name)
        private = await runtime.converse(model=scripted([]))
        assert runtime.conversations == ("a", "b")
        await (await runtime.converse(model=scripted([]), id="a")).close()
        await private.close()
        assert list(runtime.conversations) == ["b"]


@pytest.mark.parametrize("bus", ["memory", "nats"])
async def test_what_is_said_to_one_that_is_closed_is_refused_in_a_sentence(
    bus: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("nats_url") if bus == "nats" else "memory://"
    said = r"the conversation 'c' was closed: converse\(id=…\) opens it anew"
    async with Runtime(url, namespace="closed", local=bus == "memory") as runtime:
        chat = await runtime.converse(model=scripted(["Hello."]), id="c")
        await chat.say("Hi")
        await chat.close()
        for _ in range(2):
            with pytest.raises(ToolwireError, match=said if bus == "memory" else "unreachable"):
                await chat.say("Are you there?")
        assert len(chat.history()) == 2


async def test_a_tool_that_an_agent_names_and_nobody_serves_is_told_to_the_log_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    agent = Agent("a", scripted(["a", "b"]), tools=["dubble", "double", "doub*", "doublé"])
    async with Runtime() as runtime:
        await runtime.serve(double)
        for _ in range(2):
            assert (await (await runtime.converse(agent)).say("Hi")).ended == "answered"
    told = [record.getMessage() for record in caplog.records if record.name == "toolwire"]
    about = "an agent may call what nobody serves so far: there is no tool"
    assert told == [f"{about} {name!r}; did you mean 'double'?" for name in ("dubble", "doublé")]


async def test_who_waits_to_be_heard_while_it_is_closed_is_told_so() -> None:
    go, failures = anyio.Event(), list[str]()

    async def wait(_request: ModelRequest) -> str:
        await go.wait()
        return "Hello."

    async with Runtime() as runtime, anyio.create_task_group() as tasks:
        chat = await runtime.converse(model=scripted([wait]), id="c")

        async def say() -> None:
            try:
                await chat.say("Hi")
            except ToolwireError as error:
                failures.append(error.failure.message)

        tasks.start_soon(say)
        tasks.start_soon(say)
        await anyio.wait_all_tasks_blocked()
        await chat.close()
        go.set()
    assert failures == ["the conversation 'c' was closed: converse(id=…) opens it anew"]


async def test_what_is_open_in_one_process_is_refused_in_another(nats_url: str) -> None:
    async with Runtime(nats_url, namespace="greeted") as here, Runtime(nats_url, namespace="greeted") as there:
        chat = await here.converse(model=scripted(["hi"]), id="c")
        with pytest.raises(Misuse, match="open in another process") as raised:
            await there.converse(model=scripted([]), id="c")
        assert raised.value.failure.code == "conflict"
        assert there.conversations == ()
        assert (await chat.say("hello")).text == "hi"
        await chat.close()
        assert (await (await there.converse(model=scripted(["yes"]), id="c")).say("now?")).text == "yes"


async def test_of_some_that_open_it_in_the_same_instant_one_has_it(nats_url: str) -> None:
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(Runtime(nats_url, namespace="instant")) for _ in range(3)]
        won: dict[str, list[Chat]] = {}

        async def open_it(runtime: Runtime, name: str, turns: int) -> None:
            for _ in range(turns):  # so that they meet at every step
                await checkpoint()
            with suppress(Misuse):
                won[name].append(await runtime.converse(model=scripted(["hi"]), id=name))

        for n in range(40):
            won[f"c{n}"] = []
            async with anyio.create_task_group() as tasks:
                for at, runtime in enumerate(opened):
                    tasks.start_soon(open_it, runtime, f"c{n}", n * at % 7)
        assert {name: len(chats) for name, chats in won.items()} == dict.fromkeys(won, 1)
        (chat,) = won["c0"]
        assert (await chat.say("hello")).text == "hi"
        assert sorted(name for runtime in opened for name in runtime.conversations) == sorted(won)


async def test_what_is_said_over_the_bus_in_that_instant_is_heard_by_who_has_it(nats_url: str) -> None:
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(Runtime(nats_url, namespace="told", local=False)) for _ in range(3)]
        heard: list[int] = []

        async def open_it(runtime: Runtime, name: str) -> None:
            with suppress(Misuse):
                chat = await runtime.converse(model=scripted(["hi"]), id=name)
                assert (await chat.say("hello")).text == "hi"
                heard.append(len(chat.history()))

        for n in range(10):
            async with anyio.create_task_group() as tasks:
                for runtime in opened:
                    tasks.start_soon(open_it, runtime, f"c{n}")
        assert heard == [2] * 10


async def test_where_this_end_is_cut_off_a_name_is_not_taken_for_free() -> None:
    class Cut:
        async def ask(self, address: str, message: Greet) -> Greeted:
            raise ToolwireError(bus_failure(Closed("it took nothing for a second")))

    async with Runtime() as runtime:
        outside: Any = Cut
        with pytest.raises(ToolwireError, match="it took nothing for a second"):
            await Claiming(runtime.system, "c", outside).taken()


async def test_one_that_is_busy_elsewhere_is_open_all_the_same(nats_url: str) -> None:
    go = anyio.Event()

    async def slow(_request: ModelRequest) -> str:
        await go.wait()
        return "done"

    async with Runtime(nats_url, namespace="busy") as here, Runtime(nats_url, namespace="busy") as there:
        chat = await here.converse(model=scripted([slow]), id="c")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(chat.say, "hello")
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(Misuse, match="open in another process"):
                await there.converse(model=scripted([]), id="c")
            go.set()


class Stuck(Actor):
    """Has a name, and says nothing, as a process that is paused."""

    hears = Greet

    def __init__(self) -> None:
        self.asked = anyio.Event()

    async def receive(self, message: Greet, context: ActorContext) -> Greeted:
        """Never."""
        self.asked.set()
        await anyio.sleep_forever()
        raise AssertionError(message, context)


async def test_who_asks_for_a_name_that_is_stuck_elsewhere_holds_up_nobody_else(nats_url: str) -> None:
    async with Runtime(nats_url, namespace="stuck") as here, Runtime(nats_url, namespace="stuck") as there:
        stuck = Stuck()
        await there.system.spawn(stuck, there.system.address("conversation", "c"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(here.converse, model=scripted([]), id="c"))
            await stuck.asked.wait()
            with anyio.fail_after(GREETING / 2):
                await here.converse(model=scripted([]), id="d")
            tasks.cancel_scope.cancel()
        assert here.conversations == ("d",)


@tool(read_only=True)
async def double(n: int) -> int:
    """Twice n."""
    return 2 * n


class Echo:
    """Says what it hears; `most` is how many turns of one conversation it was asked in at once."""

    def __init__(self) -> None:
        self.asked: dict[str, int] = {}
        self.most = 0

    async def complete(self, request: ModelRequest) -> ModelReply:
        open_ = self.asked[request.conversation] = self.asked.get(request.conversation, 0) + 1
        self.most = max(self.most, open_)
        await checkpoint()
        self.asked[request.conversation] -= 1
        last = request.messages[-1]
        assert isinstance(last, UserMessage)
        return ModelReply(last.text)


async def test_a_thousand_at_once_each_have_one_turn_at_a_time_in_order() -> None:
    model = Echo()
    async with Runtime() as runtime:
        chats = [await runtime.converse(model=model, id=f"c-{n}") for n in range(1_000)]

        async def say(chat: Chat, text: str) -> None:
            assert (await chat.say(text)).text == text

        async with anyio.create_task_group() as tasks:
            for text in ("1", "2", "3"):
                for chat in chats:
                    tasks.start_soon(say, chat, text)
        assert len(runtime.conversations) == 1_000
    assert model.most == 1
    for chat in chats:
        said = [each.text for each in chat.history() if isinstance(each, UserMessage | AssistantMessage)]
        assert sorted(said[::2]) == ["1", "2", "3"]
        assert said[::2] == said[1::2]


@pytest.mark.parametrize("name", [None, "c"])
async def test_a_conversation_that_nobody_holds_is_gone(name: str | None) -> None:
    async with Runtime() as runtime:
        await runtime.serve(double)
        chat = await runtime.converse(model=scripted([("double", {"n": 2}), "4"]), id=name)
        await chat.say("twice two?")
        gone = weakref.ref(chat._conversation)
        await chat.close()
        del chat
        gc.collect()
        assert gone() is None


@pytest.mark.parametrize("bus", ["memory", "nats"])
async def test_who_opens_a_name_anew_shares_nothing_with_the_turn_that_still_runs(
    bus: str, request: pytest.FixtureRequest
) -> None:
    go, waits = anyio.Event(), anyio.Event()
    told: list[list[str]] = []
    keys: list[str] = []

    @tool
    async def wait(whose: str, context: Context) -> str:
        keys.append(context.idempotency_key)
        if whose == "old":
            waits.set()
            await go.wait()
        return f"{whose} result"

    async def model(request: ModelRequest) -> list[ToolCall] | str:
        told.append([each.text for each in request.messages if isinstance(each, UserMessage)])
        if isinstance(request.messages[-1], UserMessage) and told[-1][-1] in {"old", "new"}:
            return [ToolCall(f"{n}", "wait", {"whose": told[-1][-1]}) for n in range(2)]
        return "done"

    speaks = scripted([model] * 6)
    url = request.getfixturevalue("nats_url") if bus == "nats" else "memory://"
    async with Runtime(url, namespace="anew", local=bus == "memory") as runtime:
        await runtime.serve(wait)
        chat = await runtime.converse(model=speaks, id="c", caller="alice")
        replies: list[Reply] = []

        async def old() -> None:
            replies.append(await chat.say("old"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(old)
            await waits.wait()
            await chat.close()
            again = await runtime.converse(model=speaks, id="c", caller="bob")
            assert (await again.say("new")).text == "done"
            assert (await again.say("newer")).text == "done"
            await chat.close()  # once more, which closes nobody else's
            go.set()
        assert replies[0].text == "done"
        assert replies[0].failure is None
        assert [result.value for result in replies[0].calls] == ["old result"] * 2
        assert runtime.conversations == ("c",)
        again = await runtime.converse(model=speaks, id="c", caller="bob")
        assert (await again.say("newest")).text == "done"
    assert told.pop(-2) == ["old"]
    assert told == [["old"], ["new"], ["new"], ["new", "newer"], ["new", "newer", "newest"]]
    assert len({key.rpartition("/")[0] for key in keys}) == 2


@pytest.mark.parametrize("name", [None, "c"])
async def test_the_model_forgets_a_conversation_that_is_closed(name: str | None) -> None:
    async with Runtime() as runtime:
        chat = await runtime.converse(model=scripted(["a secret", "still here"]), id=name)
        await chat.say("hello")
        door: Any = chat._conversation._asks[Complete]
        kept = door.actor.memory._histories
        assert len(kept) == 1
        await chat.close()
        assert len(kept) == 0
