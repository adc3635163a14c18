"""Which tools a conversation is offered: all where they are few, those that fit where they are many."""

from typing import Any

import pytest

from toolwire.actors.catalogue import Catalogue
from toolwire.actors.selector import SCOPES, Selector, matches
from toolwire.actors.selectors import Keyword
from toolwire.protocol.messages import SelectTools, ToolsSelected
from toolwire.protocol.tools import ToolSpec
from toolwire.runtime.bus import MemoryBus
from toolwire.runtime.system import ActorSystem

pytestmark = pytest.mark.anyio


def new_catalogue(**instances: str) -> Catalogue:
    catalogue = Catalogue(lambda name, instance: f"{name}@{instance}")
    for name, instance in instances.items():
        catalogue.add(ToolSpec(name, f"Does {name}."), instance)
    return catalogue


async def selected(selector: Selector, query: str = "", *patterns: str, used: tuple[str, ...] = ()) -> ToolsSelected:
    context: Any = None
    return await selector.receive(SelectTools(query, patterns, used), context)


async def test_without_patterns_it_is_what_this_process_serves() -> None:
    selector = Selector(new_catalogue(a="here", b="there", c="here"), Keyword(), "here")
    assert await selected(selector) == ToolsSelected(("a", "c"), (await selected(selector)).digest, always=True)


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (("*",), {"car_start", "car_stop", "a.*.>", "mail"}),
        (("car_*",), {"car_start", "car_stop"}),
        (("mail", "car_st[ao]rt"), {"mail", "car_start"}),
        (("a.*.>",), {"a.*.>"}),
        (("MAIL",), set()),
        (("",), set()),
        (("nothing",), set()),
    ],
)
async def test_patterns_are_names_and_globs(patterns: tuple[str, ...], names: set[str]) -> None:
    catalogue = new_catalogue(car_start="here", car_stop="there", mail="there")
    catalogue.add(ToolSpec("a.*.>"), "there")
    selector = Selector(catalogue, Keyword(), "here")
    assert set((await selected(selector, "", *patterns)).names) == names


async def test_where_there_are_many_those_that_fit_are_offered() -> None:
    catalogue = new_catalogue(**{f"number_{n}": "here" for n in range(50)}, weather="here")
    selector = Selector(catalogue, Keyword(), "here", most=5)
    chosen = await selected(selector, "what will the weather be")
    assert len(chosen.names) <= 5
    assert chosen.names[:1] == ("weather",)
    assert not chosen.always


async def test_what_was_used_stays_on_offer() -> None:
    catalogue = new_catalogue(**{f"number_{n}": "here" for n in range(50)}, weather="here", far="there")
    selector = Selector(catalogue, Keyword(), "here", most=3)
    chosen = await selected(selector, "weather", used=("number_7", "far", "gone"))
    assert chosen.names[:2] == ("number_7", "weather")


async def test_more_were_used_than_may_be_offered() -> None:
    catalogue = new_catalogue(**{f"number_{n}": "here" for n in range(50)})
    selector = Selector(catalogue, Keyword(), "here", most=3)
    assert len((await selected(selector, "x", used=tuple(f"number_{n}" for n in range(9)))).names) == 3


async def test_only_what_is_in_reach_is_chosen() -> None:
    catalogue = new_catalogue(**{f"weather_{n}": "there" for n in range(50)}, weather="here")
    selector = Selector(catalogue, Keyword(), "here", most=3)
    assert set((await selected(selector, "weather", "weather_1*")).names) <= {
        f"weather_{n}" for n in [1, *range(10, 20)]
    }


async def test_a_digest_names_exactly_this_list_of_exactly_these_specs() -> None:
    catalogue = new_catalogue(a="here", b="here")
    selector = Selector(catalogue, Keyword(), "here")
    first = await selected(selector)
    assert first == await selected(selector)
    assert (await selected(selector, "", "a")).digest != first.digest
    catalogue.add(ToolSpec("b", "other words"), "here")
    second = await selected(selector)
    assert (second.names, second.digest != first.digest) == (first.names, True)
    assert (await selected(selector, "", "nothing")).digest == ""


async def test_what_comes_and_goes_is_seen_at_once() -> None:
    catalogue = new_catalogue(a="here")
    selector = Selector(catalogue, Keyword(), "here")
    assert (await selected(selector)).names == ("a",)
    catalogue.add(ToolSpec("b"), "here")
    assert (await selected(selector)).names == ("a", "b")
    catalogue.forget("here")
    assert (await selected(selector)).names == ()


async def test_patterns_are_not_kept_without_a_bound() -> None:
    selector = Selector(new_catalogue(a="here"), Keyword(), "here")
    for n in range(SCOPES + 50):
        await selected(selector, "", f"x{n}")
    assert len(selector._scopes) == SCOPES


async def test_it_is_an_actor() -> None:
    async with ActorSystem(MemoryBus()) as system:
        await system.spawn(Selector(new_catalogue(a="here"), Keyword(), "here"), "s")
        assert (await system.context().ask("s", SelectTools("hi"))).names == ("a",)


def test_a_name_that_looks_like_a_glob_matches_itself() -> None:
    assert matches("x[1]", ("x[1]",))
    assert not matches("x1y", ("x[1]",))
