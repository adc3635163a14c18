"""The shared fixtures: both event loops run, and the NATS server is a real one that ends with its scope."""

from urllib.parse import urlsplit

import nats
import pytest
import sniffio


@pytest.mark.anyio
async def test_both_event_loops_run(anyio_backend: str) -> None:
    assert sniffio.current_async_library() == anyio_backend


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_server_answers_and_keeps_streams(nats_url: str) -> None:
    client = await nats.connect(nats_url)
    bucket = await client.jetstream().create_key_value(bucket="fixtures")  # pyright: ignore[reportUnknownMemberType]
    await bucket.put("a", b"1")
    assert (await bucket.get("a")).value == b"1"
    await client.close()


def test_the_server_is_reachable_from_this_machine_only(nats_url: str) -> None:
    assert urlsplit(nats_url).hostname == "127.0.0.1"
