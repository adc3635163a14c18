"""What stands around models: each takes a model, or the name of one, and is one."""

import math
from collections.abc import Collection
from functools import partial
from os import PathLike

from ...protocol.failures import CODES, Misuse, failed
from ...protocol.options import SECONDS, check, maybe
from ...protocol.tools import Retry
from ..steps.asked import retry
from . import as_model, model_from, model_named
from .contract import Model
from .fallback import Fallback
from .limited import Limited
from .limiter import Limiter
from .named import Named
from .parsed import Parsed
from .parsed import parsed as read_by
from .recording import Recording
from .replayed import Replayed
from .retrying import Retrying


def retrying(model: str | Model, retries: int | Retry = 2) -> Model:
    """`model`, asked again up to `retries` times where it failed in a way that may pass. See `Retrying`.

    `Retry` says more: the waits, which failures, how long one try may take. Providers' models are asked again anyway,
    up to twice; this takes the place of that. Raises Misuse.
    """
    asked = retry("retrying", retries)
    if isinstance(model, str):
        return Named(model, partial(model_named, retries=asked or 0))
    once: Model = getattr(model, "once", model)
    return inner(once) if asked is None else Retrying(inner(once), asked)


def fallback(*models: str | Model, within: float | None = None, also: Collection[str] = ()) -> Fallback:
    """The first of `models` that answers. See `Fallback`. Raises Misuse."""
    if len(models) < 2:  # noqa: PLR2004 - the least that has something to fall back on
        raise Misuse(
            failed("invalid_call", 'fallback: name two models or more: write fallback("openai:…", "anthropic:…")')
        )
    if within != math.inf:
        check("fallback", {"within": within}, {"within": maybe(SECONDS)})
    if isinstance(also, str) or set(also) - CODES.keys():
        known = "codes of failures, such as {'model_refused'}"
        raise Misuse(failed("invalid_call", f"fallback: also must be {known}, not {also!r:.100}"))
    return Fallback([inner(model) for model in models], within, also)


def inner(model: str | Model) -> Model:
    """A model to stand around. One that is named is made when it is first needed. Raises Misuse."""
    return Named(model, model_from) if isinstance(model, str) else as_model(model)


def parsed(model: str | Model, notation: str) -> Parsed:
    """`model`, with calls that it writes as text read: "hermes", "mistral" or "json". See `Parsed`. Raises Misuse."""
    return read_by(inner(model), notation)


def limited(
    model: str | Model,
    limiter: Limiter | None = None,
    *,
    requests: str | None = None,
    tokens: str | None = None,
    concurrent: int | None = None,
) -> Limited:
    """`model`, asked no more often than so: "60/m", "100000/m" tokens, so many at once. See `Limited`.

    Models for which one key pays share one `Limiter`. Raises Misuse.
    """
    if limiter is None:
        limiter = Limiter(requests=requests, tokens=tokens, concurrent=concurrent)
    elif not isinstance(limiter, Limiter):
        said = f"limited: {limiter!r:.100} is no Limiter: write which limit it is, requests=, tokens= or concurrent="
        raise Misuse(failed("invalid_call", said))
    elif (requests, tokens, concurrent) != (None, None, None):
        raise Misuse(failed("invalid_call", "limited: give a Limiter, or requests=, tokens= and concurrent="))
    return Limited(inner(model), limiter)


def record(model: str | Model, file: str | PathLike[str]) -> Recording:
    """`model`, with each request and answer written to `file`. It holds all content. See `Recording`."""
    return Recording(inner(model), file)


def replayed(file: str | PathLike[str], *, strict: bool = True) -> Replayed:
    """A model that speaks from a file that `record` has written. See `Replayed`. Raises Misuse."""
    return Replayed(file, strict=strict)
