"""The ids of the calls in a history: each stands there once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolwire.protocol import ids as ids_of_calls
from toolwire.protocol.history import AssistantMessage
from toolwire.protocol.ids import apart, ids_of
from toolwire.protocol.tools import ToolCall

GIVEN = st.lists(st.lists(st.sampled_from(["", "a", "a_2", "a_3", "b", "call_1"]), max_size=4), max_size=6)


def answer(ids: list[str]) -> AssistantMessage:
    return AssistantMessage("", tuple(ToolCall(id_, "t", "{}") for id_ in ids))


@given(GIVEN, GIVEN)
def test_no_id_stands_twice_and_one_that_is_free_stays(before: list[list[str]], given: list[list[str]]) -> None:
    known = {id_ for ids in before for id_ in ids}
    ids = ids_of(map(answer, before))
    for message in map(answer, given):
        made = apart(message, ids)
        names = [call.id for call in made.calls]
        assert "" not in names
        assert len(set(names)) == len(names)
        assert known.isdisjoint(names)
        for n, call in enumerate(message.calls):
            first = call.id and call.id not in known and call.id not in [each.id for each in message.calls[:n]]
            assert (names[n] == call.id) == bool(first)
        assert (made is message) == all(map(str.__eq__, names, [call.id for call in message.calls]))
        known.update(names)


@pytest.mark.parametrize("id_", ["", "call_0"])
def test_thousands_of_calls_with_one_id_take_no_longer_than_others(id_: str) -> None:
    class Looked(set[str]):
        """Counts how often it is looked into."""

        looked = 0

        def __contains__(self, item: object) -> bool:
            self.looked += 1
            return super().__contains__(item)

    used: dict[str, int] = {} if not id_ else {id_: 1}
    ids = Looked({id_})
    free = [ids_of_calls._free(id_, used, ids) for _ in range(1_000)]
    assert len(set(free)) == 1_000
    assert ids.looked <= 1_001
