from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from toolwire.protocol.lines import Lines
from toolwire.protocol.resources import Touch, clash

READ = Touch(reads=("file",))
WRITE = Touch(writes=("file",))
BOTH = Touch(writes=("file", "disk"))
CAR = Touch(object="car")
ALONE = Touch(alone=True)
ANYTHING = Touch(anything=True)
READ_A = Touch(reads=("file:a",))
WRITE_A = Touch(writes=("file:a",))
WRITE_B = Touch(writes=("file:b",))
PLAIN = None


def joined(*touches: Touch | None) -> list[set[int]]:
    lines = Lines()
    return [{*lines.join(n, touch)} for n, touch in enumerate(touches)]


def test_who_touches_nothing_waits_for_nobody() -> None:
    assert joined(PLAIN, Touch(), PLAIN) == [set(), set(), set()]


def test_calls_of_one_object_make_a_chain() -> None:
    assert joined(CAR, PLAIN, CAR, Touch(object="bus"), CAR) == [set(), set(), {0}, set(), {2}]


def test_readers_share_and_writers_part_them() -> None:
    assert joined(READ, READ, WRITE, READ, READ, WRITE, WRITE) == [set(), set(), {0, 1}, {2}, {2}, {3, 4}, {5}]
    assert joined(READ_A, READ_A, WRITE_A, READ_A, WRITE_A) == [set(), set(), {0, 1}, {2}, {3}]


def test_resources_of_different_names_part_nobody() -> None:
    assert joined(BOTH, BOTH, READ, Touch(writes=("disk",))) == [set(), {0}, {1}, {1}]
    assert joined(WRITE_A, WRITE_B, Touch(writes=("a",)), WRITE_B) == [set(), set(), set(), {1}]


def test_a_whole_kind_parts_whoever_touches_some_of_it() -> None:
    assert joined(WRITE_A, WRITE_B, WRITE, WRITE_A, READ) == [set(), set(), {0, 1}, {2}, {3}]
    assert joined(READ, WRITE_A, READ_A, READ) == [set(), {0}, {1}, {1}]
    assert joined(Touch(writes=("file:*",)), WRITE_A, WRITE) == [set(), {0}, {1}]


def test_an_exclusive_call_parts_all() -> None:
    assert joined(PLAIN, CAR, ALONE, CAR, PLAIN, ALONE, ALONE) == [set(), set(), {0, 1}, {2}, {2}, {2, 3, 4}, {5}]
    assert joined(WRITE, READ, ALONE, READ, WRITE) == [set(), {0}, {0, 1}, {2}, {2, 3}]


def test_what_may_touch_anything_parts_whoever_touches_something() -> None:
    assert joined(WRITE_A, PLAIN, CAR, ANYTHING, PLAIN, READ, CAR, ANYTHING) == [
        set(), set(), set(), {0}, set(), {3}, {2}, {5},
    ]  # fmt: skip
    assert joined(ANYTHING, ANYTHING, ALONE, ANYTHING) == [set(), {0}, {0, 1}, {2}]


NAMES = st.lists(st.sampled_from(["file", "file:*", "file:a", "file:b", "db:a", "db"]), max_size=3, unique=True)
TOUCHES = st.builds(
    lambda owner, alone, anything, reads, writes: Touch(owner, alone, anything, tuple(reads), tuple(writes)),
    st.sampled_from(["", "", "", "car"]),
    st.sampled_from([False] * 9 + [True]),
    st.sampled_from([False] * 9 + [True]),
    NAMES,
    NAMES,
)


def conflict(one: Touch | None, other: Touch | None) -> bool:
    """What it means that two calls can't run at the same time, said from names and sets alone."""
    if one is None or other is None:
        return any(touch is not None and touch.alone for touch in (one, other))
    world = {"file:a", "file:b", "file:?", "db:a", "db:?"}

    def meant(names: Sequence[str]) -> set[str]:
        return {thing for thing in world for name in names if thing.startswith(name.rstrip("*"))}

    def written(touch: Touch) -> set[str]:
        return world if touch.anything else meant(touch.writes)

    mine, others = (written(touch) | meant(touch.reads) for touch in (one, other))
    return bool(
        one.alone
        or other.alone
        or (one.object and one.object == other.object)
        or written(one) & others
        or written(other) & mine
    )


@given(st.lists(st.none() | TOUCHES, max_size=12))
def test_calls_in_conflict_never_overlap_and_others_may(touches: list[Touch | None]) -> None:
    edges = joined(*touches)
    behind: list[set[int]] = []
    for n, direct in enumerate(edges):
        assert all(other < n for other in direct), "a circle"
        behind.append(direct | {far for other in direct for far in behind[other]})
        for other in range(n):
            if conflict(touches[other], touches[n]):
                assert other in behind[n]
            else:
                assert other not in direct


@given(TOUCHES, TOUCHES)
def test_why_two_calls_wait_is_said_exactly_if_they_do(one: Touch, other: Touch) -> None:
    assert bool(clash(one, other)) == bool(clash(other, one)) == conflict(one, other)


@given(st.lists(st.sampled_from([READ, WRITE, BOTH, CAR, ALONE, ANYTHING, PLAIN])))
def test_there_are_only_a_few_edges_for_each_call(touches: list[Touch | None]) -> None:
    assert sum(map(len, joined(*touches))) <= 4 * len(touches)


def test_writing_parts_between_looks_at_the_whole_costs_a_few_edges_each() -> None:
    assert sum(map(len, joined(*[WRITE_A, READ] * 1_000))) <= 4 * 2_000
