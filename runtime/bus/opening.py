"""A bus for a URL: the one place that knows which schemes there are."""

import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path

from .contract import GRACE, Bus
from .greeting import addresses, without_secrets
from .local_first import LocalFirst
from .memory import MemoryBus

MEMORY = "memory://"
EMBEDDED = "nats+embedded://"
BROKER = ("nats://", "tls://")


def open_bus(
    url: str,
    *,
    namespace: str = "default",
    local: bool | Callable[[str], bool] = True,
    concurrency: int = 4096,
    backlog: int = 4096,
    credentials: Path | str | None = None,
    tls: ssl.SSLContext | None = None,
    grace: float = GRACE,
) -> Bus:
    """The bus that `url` names, to be opened with `async with`.

    - `memory://` is alone; `memory://name` is shared by the ends of that name in this thread.
    - `nats://host:port` is a broker, `tls://` the same encrypted; several are separated by commas.
    - `nats+embedded:///directory` starts a nats-server with its data there, or joins the one that runs.

    `local` says whether requests to what this process serves stay inside it; a function says it of each subject.
    Raises ValueError for any other URL.
    """
    if url.startswith(MEMORY):
        return MemoryBus(url.removeprefix(MEMORY), grace=grace)
    from .embedded import embedded_server  # noqa: PLC0415 - 15 ms with the next, which memory need not pay
    from .nats import NatsBus  # noqa: PLC0415 - as above

    server = None
    if url.startswith(EMBEDDED):
        directory = url.removeprefix(EMBEDDED)
        if not directory.startswith("/"):
            raise ValueError(f"{url!r} names no directory: it takes an absolute one, such as nats+embedded:///var/bus")
        server = partial(embedded_server, directory)
    elif url.startswith(BROKER):
        addresses(url)
    else:
        known = "memory://, nats://host:port, tls://host:port or nats+embedded:///directory"
        raise ValueError(f"{without_secrets(url)!r} is no bus: it is {known}")
    remote = NatsBus(
        url,
        namespace=namespace,
        concurrency=concurrency,
        backlog=backlog,
        credentials=credentials,
        tls=tls,
        grace=grace,
        server=server,
    )
    if local is False:
        return remote
    return LocalFirst(MemoryBus(grace=grace), remote, *(() if local is True else (local,)))
