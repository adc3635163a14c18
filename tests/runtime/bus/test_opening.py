"""Which URL makes which bus."""

import re
from pathlib import Path

import pytest

from toolwire.runtime.bus import LocalFirst, MemoryBus, Progress, Unreachable, open_bus
from toolwire.runtime.bus.nats import NatsBus

pytestmark = pytest.mark.anyio


async def echo(payload: bytes, _progress: Progress) -> bytes:
    return payload


@pytest.mark.parametrize(
    ("url", "local", "kind"),
    [
        ("memory://", True, MemoryBus),
        ("memory://name", False, MemoryBus),
        ("nats://host:4222", True, LocalFirst),
        ("nats://host:4222", False, NatsBus),
        ("tls://host", False, NatsBus),
        ("nats://one,nats://two:1", False, NatsBus),
        ("nats+embedded:///data", True, LocalFirst),
    ],
)
def test_each_scheme_has_its_bus(url: str, *, local: bool, kind: type) -> None:
    assert type(open_bus(url, local=local)) is kind


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("", "'' is no bus"),
        ("redis://host", "'redis://host' is no bus: it is memory://, nats://host:port"),
        ("http://user:secret@host", "'http://host' is no bus"),
        ("nats://", "'nats://' names no host, such as in nats://127.0.0.1:4222"),
        ("nats://user:secret@", "'nats://' names no host"),
        ("nats+embedded://relative", "names no directory"),
        ("nats+embedded://", "names no directory"),
    ],
)
def test_any_other_is_refused_with_a_sentence(url: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)) as refused:
        open_bus(url)
    assert "secret" not in str(refused.value)


async def test_memory_without_a_name_is_alone() -> None:
    async with open_bus("memory://") as one, open_bus("memory://") as other:
        await one.serve("a", echo)
        with pytest.raises(Unreachable):
            await other.request("a", b"")


async def test_memory_with_a_name_is_shared() -> None:
    async with open_bus("memory://here") as one, open_bus("memory://here") as other, open_bus("memory://there") as far:
        await one.serve("a", echo)
        assert await other.request("a", b"b") == b"b"
        with pytest.raises(Unreachable):
            await far.request("a", b"")


async def test_the_short_way_is_taken_where_it_is_open(nats_url: str) -> None:
    async with open_bus(nats_url, namespace="short", local=lambda subject: subject == "tw.short.tool.near") as bus:
        assert isinstance(bus, LocalFirst)
        asked: list[str] = []
        remote = bus.remote.request

        async def request(subject: str, payload: bytes, **options: object) -> bytes:
            asked.append(subject)
            return await remote(subject, payload)

        bus.remote.request = request  # type: ignore[method-assign]
        for name in ("near", "far"):
            await bus.serve(f"tw.short.tool.{name}", echo)
            assert await bus.request(f"tw.short.tool.{name}", b"a") == b"a"
        assert asked == ["tw.short.tool.far"]
        assert repr(bus) == f"<LocalFirst <NatsBus {nats_url} [serves: 2 | running: 0]> [short ways: 1]>"


async def test_others_reach_what_has_a_short_way(nats_url: str) -> None:
    async with open_bus(nats_url, namespace="both") as bus, open_bus(nats_url, namespace="both") as other:
        await bus.serve("tw.both.tool.x", echo)
        assert await other.request("tw.both.tool.x", b"a") == b"a"


def test_a_bus_in_memory_says_what_it_is() -> None:
    assert repr(open_bus("memory://name")) == "<MemoryBus memory://name [closed]>"


async def test_an_open_bus_in_memory_says_what_it_is(tmp_path: Path) -> None:
    async with MemoryBus("name") as bus:
        await bus.serve("a", echo)
        assert repr(bus) == "<MemoryBus memory://name [serves: 1 | running: 0]>"
