"""What is kept for a while, against a list that is searched."""

from hypothesis import given
from hypothesis import strategies as st

from toolwire.protocol.kept import Kept

keys = st.integers(0, 6)
steps = st.one_of(
    st.tuples(st.just("put"), keys, st.integers(0, 12), st.integers(1, 5)),
    st.tuples(st.just("get"), keys, st.just(0), st.just(0)),
    st.tuples(st.just("forget"), st.integers(0, 2), st.just(0), st.just(0)),
    st.tuples(st.just("wait"), st.integers(1, 3), st.just(0), st.just(0)),
)


@given(st.lists(steps, max_size=60), st.integers(0, 4), st.integers(0, 20))
def test_it_holds_what_was_used_last_within_its_bounds(
    script: list[tuple[str, int, int, int]], most: int, room: int
) -> None:
    kept: Kept[int, object] = Kept(most, room)
    model: list[tuple[int, object, int, float]] = []  # key, value, size, until; the least recently used first
    now = 0.0
    for action, n, size, lasts in script:
        match action:
            case "wait":
                now += n
            case "forget":
                kept.forget(str(n))
                model = [each for each in model if each[0] % 3 != n]
            case "put":
                value = object()
                kept.put(n, value, str(n % 3), size, now + lasts)
                model = [each for each in model if each[0] != n]
                if size <= room and most:
                    model.append((n, value, size, now + lasts))
                while len(model) > most or sum(each[2] for each in model) > room:
                    model.pop(0)
            case _:
                found = next((each for each in model if each[0] == n), None)
                if found is not None:
                    model.remove(found)
                    if now < found[3]:
                        model.append(found)
                    else:
                        found = None
                assert kept.get(n, now) is (None if found is None else found[1])
        assert len(kept) == len(model) <= most
        assert kept.size == sum(each[2] for each in model) <= room
