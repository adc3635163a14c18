"""Bytes and messages: what is said comes back as it was, and nothing else that arrives does any harm."""

import math
import struct
import subprocess
import sys
import typing
from collections.abc import Callable
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Raw, Struct

from toolwire.protocol import messages
from toolwire.protocol.envelope import (
    EMPTY_TRAIL,
    NO_MESSAGE,
    VERSION,
    Answer,
    Envelope,
    Trail,
    answer_of,
    answers,
    broadcasts,
    decode_event,
    decode_trail,
    encode,
    envelopes,
    refusal,
    told,
)
from toolwire.protocol.events import Event
from toolwire.protocol.failures import Failure, ToolwireError, failed
from toolwire.protocol.messages import Announce, Complete, Failed, Message, Request, RunBatch, Say, SelectTools, Who
from toolwire.protocol.tools import ToolCall

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
PLAIN = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | TEXT
JSON = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=6
)
SIMPLE: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXT,
    int: st.integers(0, 2**63 - 1),
    float: st.floats(allow_nan=False, min_value=0),
    bool: st.booleans(),
    type(None): st.none(),
    Any: JSON,
    bytes: st.binary(max_size=3),
}

KINDS: list[type[Message]] = [
    kind
    for kind in vars(messages).values()
    if isinstance(kind, type) and issubclass(kind, Message) and kind.__struct_config__.tag
]
REQUESTS = [kind for kind in KINDS if issubclass(kind, Request)]


def values(annotation: Any) -> st.SearchStrategy[Any]:  # noqa: PLR0911 - one for each way to write a type
    """Values of a type, as far as messages use types."""
    if isinstance(annotation, TypeVar):  # what it stands for is not said on the wire
        annotation = Any
    if annotation in SIMPLE:
        return SIMPLE[annotation]
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in {Union, UnionType}:
        return st.one_of(*map(values, inner))
    if origin is Literal:
        return st.sampled_from(inner)
    if origin is Annotated:
        return values(inner[0])
    if origin is tuple:
        return st.lists(values(inner[0]), max_size=2).map(tuple)
    if origin is dict:
        return st.dictionaries(values(inner[0]), values(inner[1]), max_size=2)
    kind = origin or annotation
    if isinstance(kind, type) and issubclass(kind, Struct):
        return structs(kind)
    raise AssertionError(f"no strategy for {annotation}")


def structs(kind: type[Struct]) -> st.SearchStrategy[Any]:
    hints = typing.get_type_hints(kind, include_extras=True)
    return st.deferred(lambda: st.builds(kind, *(values(hints[name]) for name in kind.__struct_fields__)))


def request(body: Message, *, budget: float | None = None, depth: int = 1, version: int = VERSION) -> bytes:
    return encode(Envelope(version, 7, budget, depth, (), EMPTY_TRAIL, body))


def failure_or_value(decode: Callable[[bytes], Any], payload: bytes) -> Any:
    """What whoever hears `payload` does with it. Anything but a value or a typed failure fails the test."""
    try:
        return decode(payload)
    except NO_MESSAGE as error:
        number, failure = refusal(payload, error)
        assert number >= 0
        assert failure.code in {"invalid_message", "incompatible"}
        assert len(failure.message) < 1_000
        return failure


def test_every_kind_is_known_here() -> None:
    assert len(KINDS) >= 18
    assert len({kind.__struct_config__.tag for kind in KINDS}) == len(KINDS)


@pytest.mark.parametrize("kind", REQUESTS, ids=lambda kind: kind.__name__)
def test_a_request_comes_back_as_it_was(kind: type[Request[Any]]) -> None:
    everything = envelopes(Union[tuple(REQUESTS)])  # noqa: UP007 - made of a list

    @given(structs(kind), values(float | None), values(tuple[str, ...]), structs(Trail))
    def check(body: Message, budget: float | None, path: tuple[str, ...], trail: Trail) -> None:
        said = Envelope(VERSION, 1, budget, 2, path, Raw(encode(trail)), body)
        for decoder in (envelopes(kind), everything):
            heard = decoder.decode(encode(said))
            assert (heard.body, heard.budget, heard.path, heard.depth) == (body, budget, path, 2)
            assert decode_trail(heard.trail) == trail

    check()


@pytest.mark.parametrize("kind", REQUESTS, ids=lambda kind: kind.__name__)
def test_its_answers_come_back_as_they_were(kind: type[Request[Any]]) -> None:
    base = next(base for base in typing.cast("Any", kind).__orig_bases__ if get_origin(base) is Request)
    said = get_args(base)[0]

    @given(values(said))
    def check(body: Message) -> None:
        assert answer_of(answers(kind), encode(Answer(VERSION, 1, body))) == body

    check()


@given(structs(Failure))
def test_a_failure_as_answer_is_raised(failure: Failure) -> None:
    with pytest.raises(ToolwireError) as caught:
        answer_of(answers(Say), encode(Answer(VERSION, 1, Failed(failure))))
    assert caught.value.failure == failure


@given(values(Announce | Who))
def test_what_is_told_to_all_comes_back_as_it_was(message: Message) -> None:
    assert broadcasts(Announce | Who).decode(told(message)).body == message


@given(values(Event))
def test_events_come_back_as_they_were(event: Event) -> None:
    assert decode_event(encode(event)) == event


WHOLE = request(
    RunBatch((ToolCall("1", "t", {"a": [1, 2.5, None, "é"]}), ToolCall("2", "u", '{"b": 1}', ("1",))), limit=3),
    budget=1500.0,
)


def test_a_payload_cut_off_anywhere_is_refused() -> None:
    decode = envelopes(RunBatch).decode
    for end in range(len(WHOLE)):
        heard = failure_or_value(decode, WHOLE[:end])
        assert isinstance(heard, Failure), end
        assert heard.code == "invalid_message"


def test_a_payload_with_something_behind_it_is_refused() -> None:
    for more in (b"\xc0", b"\x00" * 100, WHOLE):
        assert failure_or_value(envelopes(RunBatch).decode, WHOLE + more).code == "invalid_message"


def test_any_flipped_bit_gives_a_value_or_a_failure() -> None:
    decode = envelopes(Union[tuple(REQUESTS)]).decode  # noqa: UP007 - made of a list
    for n in range(len(WHOLE) * 8):
        payload = bytearray(WHOLE)
        payload[n // 8] ^= 1 << n % 8
        heard = failure_or_value(decode, bytes(payload))
        assert isinstance(heard, Envelope | Failure)


@given(st.binary(max_size=200), st.integers(0, 40))
@example(b"", 0)
def test_any_bytes_give_a_value_or_a_failure(noise: bytes, kept: int) -> None:
    for decoder in (envelopes(Say | Complete | RunBatch), answers(RunBatch), broadcasts(Announce | Who)):
        heard = failure_or_value(decoder.decode, WHOLE[:kept] + noise)
        assert isinstance(heard, Envelope | Answer | Failure)


HEAD = b"\x97\x01\x07\xc0\x01"
"""The beginning of an envelope up to its path: version 1, id 7, no budget, depth 1."""

LENGTHS = [0xFFFFFFFF, 0x7FFFFFFF, 0x10000000]
PREFIXES = {
    "the envelope": b"",
    "the path": HEAD,
    "the trail": HEAD + b"\x90",
    "the body": HEAD + b"\x90\x90",
    "the calls": HEAD + b"\x90\x90\x92\xa9run_batch",
    "the arguments": HEAD + b"\x90\x90\x92\xa9run_batch\x91\x83\xa2id\xa11\xa4name\xa1t\xa9arguments",
}
MARKS = {"array": 0xDD, "map": 0xDF, "str": 0xDB, "bin": 0xC6, "ext": 0xC9}


def lies() -> list[bytes]:
    """Payloads that announce more than they hold, or nest deeper than anybody writes by hand."""
    announced = [
        prefix + bytes([mark]) + struct.pack(">I", length) + rest
        for prefix in PREFIXES.values()
        for mark in MARKS.values()
        for length in LENGTHS
        for rest in (b"", b"\x01" * 20)
    ]
    deep = [
        prefix + unit * (1_000_000 // len(unit))
        for prefix in PREFIXES.values()
        for unit in (b"\x80", b"\x91", b"\x81\xa1a", b"\xdd\x00\x00\x00\x01", b"\xc1", b"\xff")
    ]
    return announced + deep


def test_lying_lengths_and_deep_nesting_are_refused() -> None:
    decode = envelopes(Union[tuple(REQUESTS)]).decode  # noqa: UP007 - made of a list
    for payload in lies():
        assert isinstance(failure_or_value(decode, payload), Failure), payload[:60]


def test_and_take_no_memory() -> None:
    """In a process of its own: the peak of this one says nothing."""
    program = (
        "import resource, runpy, sys\n"
        f"told = runpy.run_path({__file__!r})\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "told['test_lying_lengths_and_deep_nesting_are_refused']()\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    unit = 1 if sys.platform == "darwin" else 1024
    # The payloads themselves are kept beside each other: 36 of about 1 MB.
    assert int(done.stdout) * unit < 150 * 2**20


@pytest.mark.parametrize("version", [0, 2, 99, 2**63])
def test_another_version_is_refused_by_its_id(version: int) -> None:
    for payload in (request(Say("hi"), version=version), encode([version, 7]), encode([version, 7, "anything", {}])):
        try:
            heard = envelopes(Say).decode(payload)
            assert heard.version == version  # of the same shape: whoever delivers it looks at the version
            continue
        except NO_MESSAGE as error:
            number, failure = refusal(payload, error)
        assert number == 7
        assert failure.code == "incompatible"
        assert str(version) in failure.message


def test_an_unknown_kind_is_refused_by_its_id() -> None:
    payload = encode([VERSION, 7, None, 1, [], [], ["teleport", "Mars"]])
    with pytest.raises(msgspec.ValidationError) as caught:
        envelopes(Say | SelectTools).decode(payload)
    number, failure = refusal(payload, caught.value)
    assert number == 7
    assert failure.code == "incompatible"
    assert "teleport" in failure.message


@pytest.mark.parametrize("kind", REQUESTS, ids=lambda kind: kind.__name__)
def test_fields_of_a_later_version_are_ignored(kind: type[Request[Any]]) -> None:
    @given(structs(kind))
    def check(body: Message) -> None:
        whole: list[Any] = msgspec.msgpack.decode(request(body))
        whole[-1] = [*whole[-1], "a new field", {"and": "another"}]
        later = encode([*whole, "a new field of the envelope"])
        assert envelopes(kind).decode(later).body == body

    check()


def test_an_unknown_field_of_a_value_is_ignored() -> None:
    whole: list[Any] = msgspec.msgpack.decode(request(RunBatch((ToolCall("1", "t"),))))
    whole[-1][1][0]["priority"] = 9
    assert envelopes(RunBatch).decode(encode(whole)).body == RunBatch((ToolCall("1", "t"),))


@pytest.mark.parametrize("budget", [math.nan, -1.0, -math.inf, "soon", True])
def test_a_budget_is_a_number_of_milliseconds(budget: Any) -> None:
    payload = request(Say("hi"), budget=budget)
    assert failure_or_value(envelopes(Say).decode, payload).code == "invalid_message"


def test_a_depth_below_nothing_is_refused() -> None:
    assert failure_or_value(envelopes(Say).decode, request(Say("hi"), depth=-1)).code == "invalid_message"


def test_an_answer_that_is_none_is_raised_as_a_failure() -> None:
    with pytest.raises(ToolwireError) as caught:
        answer_of(answers(Say), encode([VERSION, 1, ["tools_selected", [], ""]]))
    assert caught.value.failure.code == "incompatible"
    with pytest.raises(ToolwireError) as caught:
        answer_of(answers(Say), b"\xc1")
    assert caught.value.failure.code == "invalid_message"


def test_failures_have_room_for_plain_details() -> None:
    failure = failed("overloaded", "full", by="t", waiting=3)
    with pytest.raises(ToolwireError) as caught:
        answer_of(answers(Say), encode(Answer(VERSION, 1, Failed(failure))))
    assert caught.value.failure == failure
