"""One suite for all memories: what a model is told stays short, valid for every provider, and the history whole."""

import logging
from collections.abc import Sequence

import anyio
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace
from trio.testing import MockClock

from strict.judge import FORMATS, objection_to
from toolwire import (
    Agent,
    AssistantMessage,
    History,
    MemoryStrategy,
    Misuse,
    ModelReply,
    ModelRequest,
    Past,
    Runtime,
    Summarize,
    SystemMessage,
    Telling,
    ToolCall,
    ToolMessage,
    ToolwireError,
    Trim,
    Usage,
    UserMessage,
    scripted,
    tool,
)
from toolwire.actors.recollection import Recollection
from toolwire.protocol.failures import Failure, failed
from toolwire.protocol.history import HistoryMessage, Opaque, Recall
from toolwire.protocol.mending import going_on
from toolwire.protocol.weights import guessed

pytestmark = pytest.mark.anyio

THOUGHT = Opaque("anthropic", '{"type":"thinking","thinking":"so","signature":"c2ln"}')
TOOLS = 100


@tool(read_only=True)
async def page(n: int) -> str:
    """A page."""
    return f"page {n}: " + "words " * 60


class Reader:
    """Answers with notes if asked by a memory; else, as the user says "read N", calls `page` so often, then answers.

    It counts tokens as providers do, and refuses more than `window`.
    """

    def __init__(self, window: int = 1_000_000) -> None:
        self.window = window
        self.told: list[list[HistoryMessage]] = []
        self.asked: list[ModelRequest] = []
        self.refused = 0

    async def complete(self, request: ModelRequest) -> ModelReply:
        messages = list(request.messages)
        tokens = TOOLS + round(sum(map(guessed, messages)))
        usage = Usage(tokens, 10)
        if request.conversation.endswith(".memory"):
            self.asked.append(request)
            return ModelReply(f"notes {len(self.asked)}", usage=usage)
        if not self.told or messages[: len(self.told[-1])] != self.told[-1] or len(self.told) % 10 == 0:
            assert [objection_to(name, messages) for name in FORMATS] == ["", "", ""]
        if tokens > self.window:
            self.refused += 1
            raise ToolwireError(failed("context_too_long", f"{tokens} tokens, and {self.window} is the most"))
        self.told.append(messages)
        last = max(n for n, each in enumerate(messages) if isinstance(each, UserMessage))
        word, _, number = self._text(messages[last]).partition(" ")
        turns = len(messages) - last - 1
        if word == "read" and self._read < int(number):
            self._read += 1
            call = ToolCall(f"c{len(self.told)}", "page", {"n": turns})
            return ModelReply("", (call,), usage, "calls", (THOUGHT,))
        self._read = 0
        return ModelReply("answer " * 40, usage=usage)

    _read = 0

    @staticmethod
    def _text(message: HistoryMessage) -> str:
        assert isinstance(message, UserMessage)
        return message.text

    @property
    def begun(self) -> int:
        """How often what it is told did not go on from what it was told before: the provider's cache is lost then."""
        pairs = zip(self.told, self.told[1:], strict=False)
        return sum(after[: len(before)] != before for before, after in pairs)


def tokens_of(messages: Sequence[HistoryMessage]) -> float:
    return TOOLS + sum(map(guessed, messages))


STRATEGIES = [
    pytest.param(Trim, id="trim"),
    pytest.param(Summarize, id="summarize"),
    pytest.param(lambda tokens: Summarize(tokens, model=Reader()), id="summarize by another"),
]


@pytest.mark.parametrize("made", STRATEGIES)
async def test_over_many_turns_it_stays_short_is_cut_rarely_and_the_history_is_whole(made: type[Trim]) -> None:
    model = Reader()
    async with Runtime() as runtime:
        chat = await runtime.converse(model=model, system="be brief", memory=made(tokens=2_000))
        for n in range(60):
            assert (await chat.say(f"question {n} " * 20)).ended == "answered"
        assert len(chat.history()) == 121
        assert list(chat.told())[1:] != list(chat.history())[1:]
    assert max(map(tokens_of, model.told)) <= 2_000
    assert all(told[0] == SystemMessage("be brief") for told in model.told)
    assert all(told[-1] == UserMessage(f"question {n} " * 20) for n, told in enumerate(model.told))
    assert model.begun <= 10
    assert min(map(tokens_of, model.told[30:])) > 700


@pytest.mark.parametrize("made", STRATEGIES)
async def test_within_one_long_turn_the_user_s_message_stays_and_rounds_go_whole(made: type[Trim]) -> None:
    model = Reader()
    async with Runtime() as runtime:
        await runtime.serve(page)
        memory = made(tokens=1_500)
        chat = await runtime.converse(model=model, memory=memory, limits={"rounds": 100})
        await chat.say("hello")
        reply = await chat.say("read 50")
        assert (reply.ended, reply.rounds) == ("answered", 51)
        assert len(chat.history()) == 2 + 1 + 100 + 1
    assert max(map(tokens_of, model.told)) <= 1_500
    assert all(UserMessage("read 50") in told for told in model.told[1:])
    assert model.begun <= 12


@pytest.mark.parametrize("made", STRATEGIES)
async def test_what_the_provider_refuses_as_too_long_is_shortened_and_told_again(made: type[Trim]) -> None:
    model = Reader(window=900)
    async with Runtime() as runtime:
        chat = await runtime.converse(model=model, memory=made(tokens=100_000))
        for n in range(20):
            reply = await chat.say(f"question {n} " * 20)
            assert reply.ended == "answered", reply.failure
        assert 1 <= model.refused <= 8
        reply = await chat.say("words " * 1_000)
        assert (reply.ended, reply.failure and reply.failure.code) == ("failed", "context_too_long")
        assert model.refused <= 8 + 3


def thoughts(messages: Sequence[HistoryMessage]) -> list[int]:
    """Where thoughts stand among the answers with calls."""
    answers = [each for each in messages if isinstance(each, AssistantMessage) and each.calls]
    return [n for n, each in enumerate(answers) if each.opaque]


async def test_thoughts_that_are_bound_to_a_beginning_go_with_it() -> None:
    model = Reader()
    async with Runtime() as runtime:
        await runtime.serve(page)
        chat = await runtime.converse(model=model, memory=Trim(1_500), limits={"rounds": 100})
        await chat.say("read 20")
        await chat.say("and now?")
        answers = sum(isinstance(each, AssistantMessage) and bool(each.calls) for each in chat.history())
        assert thoughts(chat.history()) == list(range(answers))
    for before, after in zip(model.told, model.told[1:], strict=False):
        if after[: len(before)] != before:  # cut: only the answer whose results are the newest still has its thoughts
            last = sum(isinstance(each, AssistantMessage) and bool(each.calls) for each in after) - 1
            assert thoughts(after) == ([] if isinstance(after[-1], UserMessage) else [last])
        else:
            assert set(thoughts(after)) >= set(thoughts(before))
    assert thoughts(model.told[-1]) == []


async def test_without_a_memory_the_turn_ends_as_too_long() -> None:
    async with Runtime() as runtime:
        chat = await runtime.converse(model=Reader(window=200))
        reply = await chat.say("words " * 1_000)
    assert (reply.ended, reply.failure and reply.failure.code) == ("failed", "context_too_long")


async def test_a_summary_is_brought_up_to_date_and_its_usage_is_the_turn_s() -> None:
    model, other = Reader(), Reader()
    async with Runtime() as runtime:
        chat = await runtime.converse(model=model, memory=Summarize(1_000, model=other), system="be brief")
        spent = [(await chat.say(f"question {n} " * 20)).usage.output_tokens for n in range(30)]
        first, second, *_ = other.asked
        assert len(other.asked) == sum(tokens == 20 for tokens in spent) >= 2
        summaries = [each for each in chat.told() if isinstance(each, UserMessage) and "notes" in each.text]
        assert len(summaries) == 1
        assert f"notes {len(other.asked)}" in summaries[0].text
        assert not any("notes" in each.text for each in chat.history() if isinstance(each, UserMessage))
    text = second.messages[1]
    assert isinstance(text, UserMessage)
    assert text.text.count("notes 1") == 1
    assert "question 0 " not in text.text
    assert isinstance(first.messages[1], UserMessage)
    assert "User: question 0 " in first.messages[1].text
    assert first.tools == ()


async def test_where_a_summary_fails_the_turn_goes_on_without(caplog: pytest.LogCaptureFixture) -> None:
    model = Reader()
    async with Runtime() as runtime:
        chat = await runtime.converse(model=model, memory=Summarize(1_000, model=scripted([RuntimeError("no")] * 9)))
        with caplog.at_level(logging.WARNING, "toolwire.memory"):
            for n in range(20):
                assert (await chat.say(f"question {n} " * 20)).ended == "answered"
    assert max(map(tokens_of, model.told)) <= 1_000
    assert "left out without a summary: model_failed: the model raised RuntimeError: no" in caplog.text


@pytest.mark.parametrize("refused", [False, True])
async def test_and_what_it_has_used_is_the_turn_s(*, refused: bool) -> None:
    details = {"usage": {"input_tokens": 5_000_000}}
    torn = ToolwireError(Failure("model_failed", "torn", details=details))
    no = ModelReply("no", usage=Usage(5_000_000), finish="refused") if refused else torn
    async with Runtime() as runtime:
        chat = await runtime.converse(model=Reader(), memory=Summarize(1_000, model=scripted([no] * 9)))
        spent = [(await chat.say(f"question {n} " * 20)).usage.input_tokens for n in range(12)]
    assert max(spent) > 5_000_000


async def test_a_rewind_behind_the_cut_tells_all_again_and_nothing_of_what_is_gone() -> None:
    model = Reader()
    async with Runtime() as runtime:
        chat = await runtime.converse(model=model, memory=Summarize(1_000))
        for n in range(12):
            await chat.say(f"question {n} " * 20)
        assert any("notes" in each.text for each in chat.told() if isinstance(each, UserMessage))
        branch = await chat.branch()
        assert branch.told() == chat.told()
        await chat.rewind(4)
        assert list(chat.told()) == list(chat.history())
        await chat.say("and now?")
        assert model.told[-1] == [*chat.history()[:5]]
        await branch.say("here?")
        assert any("notes" in each.text for each in model.told[-1] if isinstance(each, UserMessage))


async def test_another_agent_goes_on_from_what_was_told() -> None:
    model = Reader()
    async with Runtime() as runtime:
        chat = await runtime.converse(Agent("a", model, "be brief", memory=Summarize(1_000)), id="c")
        for n in range(12):
            await chat.say(f"question {n} " * 20)
        shown = chat.told()[1:]
        await runtime.converse(Agent("b", model, memory=Summarize(1_000)), id="c")
        await chat.say("and now?")
        assert list(shown) == model.told[-1][: len(shown)]


class Odd(Struct, frozen=True):
    """A strategy that does as it was told, wherever that leads."""

    start: int = 0
    error: str = ""

    async def shorten(self, past: Past) -> Telling | None:
        """See `MemoryStrategy`."""
        if self.error:
            raise RuntimeError(self.error)
        return Telling(self.start) if past.telling.start != self.start else None


@pytest.mark.parametrize("start", [3, 4, 999, -7])
async def test_one_s_own_strategy_may_begin_anywhere(start: int) -> None:
    assert isinstance(Odd(), MemoryStrategy)
    model = Reader()
    async with Runtime() as runtime:
        await runtime.serve(page)
        chat = await runtime.converse(model=model, memory=Odd(start))
        assert (await chat.say("read 3")).ended == "answered"
        assert (await chat.say("read 2")).ended == "answered"
        assert len(chat.history()) == 8 + 6


async def test_what_a_strategy_raises_is_logged_and_the_turn_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    model = Reader()
    async with Runtime() as runtime:
        chat = await runtime.converse(model=model, memory=Odd(error="oh no"))
        assert (await chat.say("hello")).ended == "answered"
    assert "Odd raised RuntimeError: oh no" in caplog.text
    assert model.told == [[UserMessage("hello")]]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        pytest.param(lambda: Trim(0), "tokens must be a whole number", id="tokens"),
        pytest.param(lambda: Summarize(keep=1.0), "keep must be a share", id="keep"),
        pytest.param(lambda: Agent("a", "m", memory="trim"), "memory must be an object with shorten", id="text"),  # type: ignore[arg-type]
    ],
)
def test_what_can_t_be_meant_is_refused(make: type[Trim], sentence: str) -> None:
    with pytest.raises(Misuse, match=sentence):
        make()


async def test_a_long_history_that_is_imported_is_cut_before_it_is_told() -> None:
    past = [each for n in range(200) for each in (UserMessage(f"q {n} " * 20), AssistantMessage("a " * 100))]
    model = Reader(window=3_000)
    async with Runtime() as runtime:
        chat = await runtime.converse(model=model, memory=Trim(2_000), history=past)
        assert (await chat.say("and now?")).ended == "answered"
    assert model.refused == 0
    assert len(model.told) == 1


class Never:
    """Says nothing until it is cancelled."""

    async def complete(self, request: ModelRequest) -> ModelReply:
        await anyio.sleep_forever()
        raise AssertionError(request)


async def test_an_interruption_ends_a_summary_too_and_the_next_turn_goes_on() -> None:
    model = Reader()
    async with Runtime() as runtime:
        past = [each for n in range(9) for each in (UserMessage(f"q {n} " * 90), AssistantMessage("a " * 90))]
        memory = Summarize(500, model=Never())
        chat = await runtime.converse(model=model, history=past, memory=memory, limits={"seconds": 3_600})
        replies = []

        async def say() -> None:
            replies.append(await chat.say("now?"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(say)
            await anyio.wait_all_tasks_blocked()
            await chat.interrupt()
        assert [reply.ended for reply in replies] == ["interrupted"]
        assert model.told == []
        await chat.rewind(2)
        assert (await chat.say("and now?")).ended == "answered"


def test_a_summary_takes_half_of_the_time_that_the_turn_has_left(caplog: pytest.LogCaptureFixture) -> None:
    model = Reader()

    async def main() -> None:
        async with Runtime() as runtime:
            past = [each for n in range(9) for each in (UserMessage(f"q {n} " * 90), AssistantMessage("a " * 90))]
            memory = Summarize(500, model=Never())
            chat = await runtime.converse(model=model, history=past, memory=memory, limits={"seconds": 60})
            began = anyio.current_time()
            assert (await chat.say("now?")).ended == "answered"
            assert 29 <= anyio.current_time() - began <= 31

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert "left out without a summary: timed_out" in caplog.text
    assert len(model.told) == 1


async def test_over_a_bus_it_is_told_in_parts_as_any_history(nats_url: str) -> None:
    model = Reader()
    past = [each for n in range(60) for each in (UserMessage(f"{n} " * 4_000), AssistantMessage("a " * 9_000))]
    async with Runtime(nats_url, namespace="memory", local=False) as runtime:
        chat = await runtime.converse(model=model, history=past, memory=Summarize(400_000, model=model), id="c")
        for n in range(3):
            assert (await chat.say(f"{n}?")).ended == "answered"
        assert len(model.told) == 3
        assert any("notes 1" in each.text for each in model.told[0] if isinstance(each, UserMessage))
        assert list(chat.told())[:-1] == model.told[-1]


class Halves(Summarize, frozen=True):
    """Another memory."""


@pytest.mark.parametrize("made", STRATEGIES)
async def test_an_export_is_told_elsewhere_as_it_is_told_here(made: type[Trim]) -> None:
    model = Reader()
    same = 0
    async with Runtime() as runtime:
        await runtime.serve(page)
        chat = await runtime.converse(model=model, system="be brief", memory=made(tokens=2_000), limits={"rounds": 50})
        for n in range(15):
            await chat.say(f"read {n}")
            document = chat.history().to_json()
            assert History.from_json(document).to_json() == document
            before = chat.told()
            other = Reader()
            again = await runtime.converse(
                model=other, system="be brief, too", memory=made(tokens=2_000), history=History.from_json(document)
            )
            told, first = again.told(), list(before)
            assert [each for each in told[1:] if each != first[1]][-1] == first[-1]
            await again.say("and now?")
            branch = await chat.branch()
            await branch.say("and now?")
            if not other.asked and model.told[-1][1] == first[1]:  # neither was cut in this very moment
                same += 1
                assert other.told[0] == [SystemMessage("be brief, too"), *model.told[-1][1:]]
        assert chat.told()[1] != chat.history()[1]
    assert same > 5


async def test_what_a_memory_knew_is_another_memory_s_to_ignore() -> None:
    async with Runtime() as runtime:
        chat = await runtime.converse(model=Reader(), memory=Summarize(1_000, model=Reader()))
        for n in range(20):
            await chat.say(f"question {n} " * 20)
        history = History.from_json(chat.history().to_json())
        assert history.recall is not None
        assert history.recall.summary.startswith("notes")
        for memory in (None, Trim(1_000), Halves(1_000)):
            again = await runtime.converse(model=Reader(), memory=memory, history=history)
            assert again.told() == tuple(history)
            assert (again.history().recall, list(again.history())) == (None, list(history))
        damaged = History([UserMessage("new"), AssistantMessage(), *history], None, history.recall)
        for given in (damaged, history[:], [SystemMessage("late")]):
            again = await runtime.converse(model=Reader(), memory=Summarize(1_000), history=given)
            assert again.told() == tuple(again.history())


async def test_an_export_from_the_middle_of_a_turn_keeps_its_summary() -> None:
    async with Runtime() as runtime:
        chat = await runtime.converse(model=Reader(), memory=Summarize(1_000, model=Reader()))
        for n in range(20):
            await chat.say(f"question {n} " * 20)
        history = chat.history()
        asked = AssistantMessage("", (ToolCall("1", "t"),), (THOUGHT,))
        halfway = History([*history, UserMessage("?"), asked], None, history.recall)
        again = await runtime.converse(model=Reader(), memory=Summarize(1_000, model=Reader()), history=halfway)
        assert again.told()[: len(chat.told())] == chat.told()
        assert [type(each) for each in again.told()[-2:]] == [AssistantMessage, ToolMessage]
        assert again.told()[-2] == replace(asked, opaque=())


@given(st.integers(-5, 50), st.integers(-5, 50), st.integers(0, 12), st.integers(0, 2))
def test_whatever_an_export_claims_what_is_told_is_valid(start: int, cut: int, length: int, systems: int) -> None:
    said: list[HistoryMessage] = [SystemMessage("be kind")] * systems
    for n in range(length):
        call = ToolCall(f"c{n}", "page", {"n": n})
        said += [UserMessage(f"{n}?"), AssistantMessage("", (call,), (THOUGHT,)), ToolMessage(call.id, "page", "1")]
    given = History(said, None, Recall("Trim", start, "notes", cut))
    memory = Recollection(Trim(), None)
    history = going_on(given, "be brief")
    memory.go_on(given, history)
    told = [*memory.messages(history), UserMessage("next")]
    assert [objection_to(name, told) for name in FORMATS] == ["", "", ""]
    assert told[0] == SystemMessage("be brief")
