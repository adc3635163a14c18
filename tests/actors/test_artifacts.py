"""What is kept, for whom, how long, and how it is read in pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from toolwire import Artifact, ToolwireError
from toolwire.actors.artifacts import BRIEFLY, Artifacts, Kept, gone, piece


def keep(artifacts: Artifacts, data: bytes, *, caller: str = "", now: float = 0.0, briefly: bool = False) -> Artifact:
    made = artifacts.keep(data, caller, now, is_text=True, briefly=briefly)
    assert made is not None
    return made


def has(artifacts: Artifacts, made: Artifact, *, caller: str = "", now: float = 0.0) -> bool:
    try:
        artifacts.find(made.id, caller, now)
    except ToolwireError as error:
        return error.failure != gone(made.id)
    return True


def test_it_is_kept_for_its_caller_alone() -> None:
    artifacts = Artifacts("w")
    made = keep(artifacts, b"abc", caller='{"user":"u1"}')
    assert (made.size, made.worker) == (3, "w")
    assert artifacts.find(made.id, '{"user":"u1"}', 0.0).data == b"abc"
    assert [has(artifacts, made, caller=caller) for caller in ("", '{"user":"u2"}', "ü")] == [False] * 3


def test_no_id_can_be_guessed_from_another() -> None:
    artifacts = Artifacts("w")
    ids = {keep(artifacts, b"x").id for _ in range(100)}
    assert len({identity[:8] for identity in ids}) > 90
    assert all(identity.startswith("w.") and len(identity) == 24 for identity in ids)


def test_what_is_too_large_for_all_of_the_room_is_not_kept() -> None:
    artifacts = Artifacts("w", room=10)
    made = keep(artifacts, b"x" * 10)
    assert artifacts.keep(b"x" * 11, "", 0.0, is_text=True) is None
    assert has(artifacts, made)


def test_what_was_read_least_lately_makes_room() -> None:
    artifacts = Artifacts("w", room=30)
    first, second, third = (keep(artifacts, b"x" * 10) for _ in range(3))
    assert has(artifacts, first)
    keep(artifacts, b"x" * 10)
    assert [has(artifacts, each) for each in (first, second, third)] == [True, False, True]
    assert repr(artifacts) == "<Artifacts [kept: 3 | bytes: 30 of 30]>"


def test_there_are_never_too_many() -> None:
    artifacts = Artifacts("w", most=2)
    made = [keep(artifacts, b"") for _ in range(3)]
    assert [has(artifacts, each) for each in made] == [False, True, True]


def test_what_is_kept_briefly_makes_room_first_and_is_gone_soon() -> None:
    artifacts = Artifacts("w", room=30)
    kept, brief = keep(artifacts, b"x" * 10), keep(artifacts, b"x" * 10, briefly=True)
    assert has(artifacts, brief, now=BRIEFLY - 1)
    assert not has(artifacts, brief, now=BRIEFLY)
    other = keep(artifacts, b"x" * 20, briefly=True)
    assert [has(artifacts, each) for each in (kept, brief, other)] == [True, False, True]
    last = keep(artifacts, b"x" * 30, briefly=True)
    assert [has(artifacts, each) for each in (kept, other, last)] == [False, False, True]


def test_time_passes() -> None:
    artifacts = Artifacts("w", seconds=5.0)
    made = keep(artifacts, b"x")
    assert has(artifacts, made, now=4.9)
    assert not has(artifacts, made, now=5.0)
    keep(artifacts, b"x", now=6.0)
    assert len(artifacts) == 1


def test_an_id_of_nothing() -> None:
    with pytest.raises(ToolwireError, match="call the tool again"):
        Artifacts("w").find("w.abc", "", 0.0)


@given(st.text(max_size=60), st.integers(1, 20))
def test_the_pieces_are_the_whole(text: str, length: int) -> None:
    kept = Kept(text.encode(), True, "", 0.0)
    pieces: list[str] = []
    offset: int | None = 0
    while offset is not None:
        read = piece(kept, offset, length)
        assert read.size == len(kept.data)
        assert read.text or not text
        assert len(read.text.encode()) <= max(length, 4)
        pieces.append(read.text)
        offset = read.next
    assert "".join(pieces) == text


@given(st.text(max_size=20), st.integers(-5, 100), st.integers(-5, 100))
def test_no_place_is_wrong(text: str, offset: int, length: int) -> None:
    read = piece(Kept(text.encode(), False, "", 0.0), offset, length)
    assert read.text in text
    assert read.next is None or 0 < read.next < read.size


class AnyUse(RuleBasedStateMachine):
    """Whatever is kept and read: what it says that it holds is what it holds, and never too much."""

    def __init__(self) -> None:
        super().__init__()
        self.artifacts = Artifacts("w", room=50, most=4, seconds=100.0)
        self.now = 0.0
        self.made: list[Artifact] = []

    @rule(size=st.integers(0, 60), briefly=st.booleans())
    def keep(self, size: int, *, briefly: bool) -> None:
        made = self.artifacts.keep(b"x" * size, "", self.now, is_text=True, briefly=briefly)
        assert (made is None) == (size > 50)
        if made is not None:
            self.made.append(made)
            assert has(self.artifacts, made, now=self.now)

    @rule(seconds=st.sampled_from([0.0, 30.0, 61.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        if self.made:
            has(self.artifacts, data.draw(st.sampled_from(self.made)), now=self.now)

    @invariant()
    def bounded(self) -> None:
        kept = [*self.artifacts._long.values(), *self.artifacts._brief.values()]
        assert len(kept) == len(self.artifacts) <= 4
        assert sum(len(each.data) for each in kept) == self.artifacts._size <= 50


TestAnyUse = AnyUse.TestCase
