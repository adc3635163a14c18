"""What models cost: by their names, per million tokens, or as the application computes it."""

import math
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from msgspec import Struct

from .events import Usage
from .failures import Failure, Misuse, failed
from .options import is_amount

MILLION = 1_000_000


class Price(Struct, frozen=True, gc=False):
    """What a million tokens cost, in whatever currency the limits are in.

    `cached` are input tokens that the provider had kept, `cache_write` those that it was told to keep: they cost as
    other input where nothing is said. Raises Misuse for what is no amount.
    """

    input: float
    output: float
    cached: float | None = None
    cache_write: float | None = None

    def __post_init__(self) -> None:
        """Look at the amounts."""
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if not (is_amount(value) and math.isfinite(value)) and not (value is None and name.startswith("cache")):
                raise Misuse(failed("invalid_call", f"Price: {name} must be an amount, 0 or more, not {value!r:.100}"))

    def of(self, usage: Usage) -> float:
        """What `usage` costs."""
        read, written = usage.cached_tokens, usage.cache_write_tokens
        cached = self.input if self.cached is None else self.cached
        keeping = self.input if self.cache_write is None else self.cache_write
        plain = max(0, usage.input_tokens - read - written)
        return (plain * self.input + read * cached + written * keeping + usage.output_tokens * self.output) / MILLION


Pricing = Mapping[str, Price] | Callable[[str, Usage], float | None]
"""A price for each model, by its name or a glob such as "gpt-5*"; or a function of a model's name and what it used."""


class Prices:
    """What replies cost. A name that fits several globs has the price of the longest."""

    def __init__(self, pricing: Pricing) -> None:
        self._pricing = pricing
        self._known: dict[str, Price | None] = {}
        if isinstance(pricing, Mapping):
            given: Mapping[Any, Any] = pricing
            for name, price in given.items():
                if not isinstance(name, str) or not isinstance(price, Price):
                    said = f"prices are Price objects by names of models, not {price!r:.100} for {name!r:.100}"
                    raise Misuse(failed("invalid_call", said))
        elif not callable(pricing):
            said = f"prices are a mapping of model names to Price, or a function, not {pricing!r:.100}"
            raise Misuse(failed("invalid_call", said))

    def cost(self, model: str, usage: Usage) -> float | None:
        """What the reply of a model costs; None if that is not known."""
        if not isinstance(self._pricing, Mapping):
            return self._pricing(model, usage)
        if model not in self._known:
            self._known[model] = found(model, self._pricing)
        price = self._known[model]
        if price is None or not (usage.input_tokens or usage.output_tokens):
            return None
        return price.of(usage)


def found(model: str, prices: Mapping[str, Price]) -> Price | None:
    """The price of a model: by its name, or by the longest glob that fits it."""
    if model in prices:
        return prices[model]
    fits = [name for name in prices if fnmatchcase(model, name)]
    return prices[max(fits, key=len)] if fits else None


def unpriced(model: str, usage: Usage) -> Failure:
    """Why a limit of cost can't be kept, after a reply of a model whose cost is not known."""
    if usage.input_tokens or usage.output_tokens:
        said = f"Runtime(prices=…) has no price for the model {model[:100]!r}"
    else:
        said = f"the model {model[:100]!r} does not say how many tokens it has used"
    return failed("limit_reached", f"a limit of cost can't be kept: {said}", by="cost")


def unpriced_call() -> Failure:
    """Why it can't be kept, after a call that asked a model on its own whose cost is not known."""
    said = "an agent that was called has asked a model without a price; Runtime(prices=…) has to know it there, too"
    return failed("limit_reached", f"a limit of cost can't be kept: {said}", by="cost")
