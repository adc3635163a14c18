"""What models cost: by name, by glob, by a function."""

import math
from typing import Any

import pytest

from toolwire import Misuse, Price, Usage
from toolwire.protocol.prices import Prices, unpriced

DEAR = Price(input=10, output=100)
CHEAP = Price(input=1, output=2)


def test_a_million_tokens_cost_the_price() -> None:
    assert DEAR.of(Usage(1_000_000, 0)) == 10
    assert DEAR.of(Usage(0, 1_000_000)) == 100
    assert DEAR.of(Usage(500_000, 500_000)) == 55


def test_what_was_kept_and_what_is_to_be_kept_have_prices_of_their_own() -> None:
    usage = Usage(1_000_000, 0, cached_tokens=400_000, cache_write_tokens=100_000)
    assert Price(10, 100).of(usage) == 10
    assert Price(10, 100, cached=1).of(usage) == pytest.approx(0.5 * 10 + 0.4 * 1 + 0.1 * 10)
    assert Price(10, 100, cached=1, cache_write=12.5).of(usage) == pytest.approx(0.5 * 10 + 0.4 * 1 + 0.1 * 12.5)
    assert Price(0, 0).of(usage) == 0


def test_tokens_to_think_with_are_output_already() -> None:
    assert DEAR.of(Usage(0, 1_000_000, reasoning_tokens=900_000)) == 100


@pytest.mark.parametrize(
    ("model", "price"),
    [("gpt-5", DEAR), ("gpt-5-2025-08-07", CHEAP), ("gpt-5-mini-2", Price(3, 3)), ("gpt-4", None), ("", None)],
)
def test_a_name_is_looked_up_and_then_the_longest_glob(model: str, price: Price | None) -> None:
    prices = Prices({"gpt-5*": CHEAP, "gpt-5-mini*": Price(3, 3), "gpt-5": DEAR})
    usage = Usage(1_000_000, 1_000_000)
    for _ in range(2):  # found, and known
        assert prices.cost(model, usage) == (None if price is None else price.of(usage))


def test_a_model_that_does_not_say_what_it_used_has_no_cost() -> None:
    assert Prices({"*": DEAR}).cost("m", Usage()) is None
    assert Prices({"*": Price(0, 0)}).cost("m", Usage(1, 1)) == 0


def test_a_function_decides_alone() -> None:
    prices = Prices(lambda model, usage: None if model == "free" else usage.output_tokens * 2.0)
    assert prices.cost("free", Usage(1, 1)) is None
    assert prices.cost("m", Usage(1, 4)) == 8


@pytest.mark.parametrize("amount", [-1, math.inf, math.nan, "1", True, None])
def test_a_price_that_is_none_is_refused(amount: Any) -> None:
    with pytest.raises(Misuse, match="Price: output must be an amount, 0 or more"):
        Price(1, amount)


def test_prices_that_are_none_are_refused() -> None:
    given: Any = {"m": 3}
    with pytest.raises(Misuse, match="prices are Price objects by names of models, not 3 for 'm'"):
        Prices(given)
    given = 3
    with pytest.raises(Misuse, match="a mapping of model names to Price, or a function, not 3"):
        Prices(given)


def test_why_a_limit_can_not_be_kept() -> None:
    assert "has no price for the model 'm'" in unpriced("m", Usage(1, 1)).message
    assert "does not say how many tokens" in unpriced("m", Usage()).message
