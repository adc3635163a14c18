"""What the interface of one provider differs in from another's, behind SDKs that are made alike."""

import os
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ...protocol.failures import Misuse, failed
from ...protocol.formats.contract import Format

NO_KEY = "none"
"""What stands in the place of a key where none is needed: the SDKs ask for one."""


class Wire(NamedTuple):
    """One interface. `module` is its SDK, an extra of the same name; `client` and `error` are classes in that.

    `keys` are the environment variables that may hold the key, `place` the one that may hold the base URL, `home` where
    requests go without one. `messages` is the field of a request that holds the history, `answer` what one is called.
    """

    provider: str
    module: str
    client: str
    error: str
    keys: tuple[str, ...]
    place: str
    home: str
    path: str
    messages: str
    answer: str
    format: Format

    def sdk(self) -> tuple[Any, Any]:
        """The SDK, which takes half a second to import, and the HTTP client that it is built on. Raises Misuse."""
        try:
            return import_module(self.module), import_module("httpx2")
        except ModuleNotFoundError:
            said = f"the SDK of {self.provider} is missing: pip install 'toolwire[{self.module}]'"
            raise Misuse(failed("model_failed", said)) from None

    def place_of(self, base_url: str | None) -> str | None:
        """The base URL: the given one, or that of the environment; None for none. Its version stands in it once.

        Raises Misuse for one where nobody could be.
        """
        url = (base_url or os.environ.get(self.place) or "").strip() or None
        if url is not None and not leads_somewhere(url):
            shown = "what it was given" if "@" in url else repr(url)  # there may be a password in it
            said = f"the base URL of {self.provider} can't be {shown}: write it like 'http://127.0.0.1:11434/v1'"
            raise Misuse(failed("model_failed", said))
        if url is not None and self.path.startswith("/v1/"):
            url = url.rstrip("/").removesuffix("/v1")
        return url

    def key(self, api_key: str | None, base_url: str | None) -> str:
        """The key: the given one, or that of the environment; who has a base URL needs none. Raises Misuse."""
        found = (api_key or next(filter(None, map(os.environ.get, self.keys)), None) or "").strip()
        found = found or (NO_KEY if base_url else "")
        if not found:
            said = f"no key for {self.provider}: set {self.keys[0]}, or give api_key= or base_url="
            raise Misuse(failed("model_failed", said))
        if not (found.isascii() and found.isprintable()):
            said = f"the key for {self.provider} holds what no key does: look at {self.keys[0]}, or at api_key="
            raise Misuse(failed("model_failed", said))
        return found


def named(given: object, word: str) -> str:
    """`given`, which `word` says. Raises Misuse for what can't be the name of a model."""
    if not isinstance(given, str) or not given.strip():
        raise Misuse(failed("model_failed", f"{word} has to be the name of a model, a text, not {given!r:.100}"))
    return given


def leads_somewhere(url: str) -> bool:
    """Whether `url` is one of HTTP, where somebody can be."""
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0 and url.isprintable()
    except ValueError:
        return False


@cache
def trust(http: Any) -> Any:
    """Whom to trust over TLS, read once for all models: 40 ms, which no event loop should stand still for."""
    return http.create_ssl_context()


def allowed() -> None:
    """Raises Misuse where the environment forbids models that cost money."""
    if os.environ.get("TOOLWIRE_NO_MODELS", "0") not in {"", "0"}:
        raise Misuse(failed("model_failed", "TOOLWIRE_NO_MODELS forbids real models here: use scripted([...])"))
