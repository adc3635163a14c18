"""The settings of a model in our words: the same for every provider, which translates them or says that it can't."""

import math
from collections.abc import Callable, Container, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal, TypedDict

from ...protocol.failures import Misuse, failed
from ...protocol.tools import encode_json

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


class Settings(TypedDict, total=False):
    """What may be set for a model. docs/models.md says what each provider makes of it.

    `max_tokens` bounds one answer, reasoning included. `stop` are texts that end it. `parallel_calls=False` asks for
    one call at most. `extra` are fields of the provider's own, which go into the request as they are, and win.
    """

    temperature: float
    top_p: float
    max_tokens: int
    reasoning_effort: Effort
    seed: int
    stop: str | Sequence[str]
    parallel_calls: bool
    extra: dict[str, Any]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_told(value: Any) -> bool:
    try:
        return isinstance(value, Mapping) and all(isinstance(name, str) for name in value) and bool(encode_json(value))
    except (TypeError, ValueError, RecursionError):
        return False


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_stop(value: Any) -> bool:
    texts = [value] if isinstance(value, str) else value
    return isinstance(texts, (list, tuple)) and all(isinstance(each, str) and _is_text(each) for each in texts)


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # half a surrogate pair
        return False
    return True


_WORDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "temperature": (_is_number, "a number"),
    "top_p": (_is_number, "a number"),
    "max_tokens": (lambda value: _is_whole(value) and value > 0, "a whole number above 0"),
    "reasoning_effort": (lambda value: value in EFFORTS, f"one of {', '.join(EFFORTS)}"),
    "seed": (_is_whole, "a whole number"),
    "stop": (_is_stop, "a text, or a list of texts"),
    "parallel_calls": (lambda value: isinstance(value, bool), "True or False"),
    "extra": (_is_told, "a dict of the provider's own fields, in JSON"),
}
"""Each word, what its value has to be, and how that is said."""


def merged(settings: Mapping[str, Any], newer: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` with those that are `newer` in their place; of `extra`, field by field."""
    first, then = settings.get("extra"), newer.get("extra")
    both = {"extra": {**first, **then}} if isinstance(first, Mapping) and isinstance(then, Mapping) else {}
    return {**settings, **newer, **both}


def chosen(settings: Mapping[str, Any], known: Container[str], provider: str) -> dict[str, Any]:
    """Those of `settings` that are set. None stands for what is not.

    Raises Misuse for a word that is none, that `provider` does not know, or whose value it can't be.
    """
    given = {word: value for word, value in settings.items() if value is not None}
    for word, value in given.items():
        if word not in _WORDS:
            raise Misuse(failed("model_failed", _unknown(word)))
        if word != "extra" and word not in known:
            said = (
                f"{provider} has no equal of the setting {word!r}: leave it out, or write extra={{…}} in its own words"
            )
            raise Misuse(failed("model_failed", said))
        fits, wanted = _WORDS[word]
        if not fits(value):
            raise Misuse(failed("model_failed", f"the setting {word!r} is {value!r:.100}; it has to be {wanted}"))
    return given


def _unknown(word: object) -> str:
    near = get_close_matches(str(word), _WORDS, n=1)
    meant = f" (did you mean {near[0]!r}?)" if near else f"; there are {', '.join(_WORDS)}"
    return f"there is no setting {word!r}{meant}: a field of the provider's own is written extra={{{word!r}: …}}"
