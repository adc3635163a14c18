"""What a model used: tokens, and what they cost."""

from msgspec import Struct


class Usage(Struct, frozen=True, omit_defaults=True, gc=False):
    """Tokens, as the provider counts them, and what they cost, if the runtime was told its prices.

    `cached_tokens` are those of `input_tokens` that the provider had kept, `reasoning_tokens` those of `output_tokens`
    that it thought with. `cache_write_tokens` are those of `input_tokens` that it was told to keep. `unpriced` is how
    many replies are not in `cost`, because nobody knows theirs: they are counted where there are prices, and of agents
    that were asked as tools. `wasted_tokens` are those of `input_tokens` of answers that came to nothing: the
    others are what the answer was made from.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cost: float = 0.0
    cache_write_tokens: int = 0
    unpriced: int = 0
    wasted_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.cost + other.cost,
            self.cache_write_tokens + other.cache_write_tokens,
            self.unpriced + other.unpriced,
            self.wasted_tokens + other.wasted_tokens,
        )
