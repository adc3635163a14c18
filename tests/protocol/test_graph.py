import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolwire.protocol.graph import cycles, sequence

GRAPHS = st.integers(1, 9).flatmap(
    lambda count: st.dictionaries(st.integers(0, count - 1), st.sets(st.integers(0, count - 1)), max_size=count)
)


def reachable(edges: dict[int, set[int]], start: int) -> set[int]:
    found: set[int] = set()
    todo = [start]
    while todo:
        for other in edges.get(todo.pop(), ()):
            if other not in found:
                found.add(other)
                todo.append(other)
    return found


@given(GRAPHS)
def test_a_cycle_is_the_calls_that_reach_each_other(edges: dict[int, set[int]]) -> None:
    nodes = {*edges, *(other for others in edges.values() for other in others)}
    expected = {
        frozenset({node, *(other for other in reachable(edges, node) if node in reachable(edges, other))})
        for node in nodes
        if node in reachable(edges, node)
    }
    found = cycles(edges)
    assert {frozenset(group) for group in found} == expected
    assert len(found) == len(expected)
    assert all(group == sorted(group) for group in found)


@given(GRAPHS)
def test_a_sequence_puts_every_call_behind_what_it_waits_for(edges: dict[int, set[int]]) -> None:
    found = sequence(10, edges)
    looping = {node for node in range(10) if any(n in reachable(edges, n) for n in {node} | reachable(edges, node))}
    assert sorted(found) == [node for node in range(10) if node not in looping]
    place = {node: n for n, node in enumerate(found)}
    assert all(place[other] < place[node] for node in found for other in edges.get(node, ()))


def test_a_sequence_keeps_the_order_where_it_can() -> None:
    assert sequence(4, {}) == [0, 1, 2, 3]
    assert sequence(4, {0: {2}}) == [1, 2, 0, 3]


@pytest.mark.parametrize("ring", [True, False])
def test_a_chain_of_ten_thousand_needs_no_stack(ring: bool) -> None:  # noqa: FBT001 - the case
    edges = {n: {(n + 1) % 10_000} for n in range(10_000 if ring else 9_999)}
    assert cycles(edges) == ([list(range(10_000))] if ring else [])
    assert len(sequence(10_000, edges)) == (0 if ring else 10_000)
