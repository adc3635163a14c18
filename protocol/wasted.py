"""What an answer has used that came to nothing: its failure says it, where the model knows it, as `details.usage`."""

import msgspec
from msgspec.structs import asdict, replace

from .failures import Failure
from .usage import Usage


def usage_in(failure: Failure) -> Usage:
    """The tokens that a failed answer has used, and what they cost; nothing where nobody knows."""
    told = failure.details.get("usage")
    if told is None:
        return Usage()
    try:
        usage = msgspec.convert(told, Usage)
    except msgspec.ValidationError:
        return Usage()
    return replace(usage, wasted_tokens=usage.input_tokens)


def wasted(failure: Failure, usage: Usage, model: str = "") -> Failure:
    """`failure` of an answer that has used so much, and the `model` that it was, unless it says so itself."""
    if usage == Usage() or "usage" in failure.details:
        return failure
    said = with_usage(failure, usage)
    return replace(said, details={**said.details, "model": model}) if model else said


def added(failure: Failure, spent: Usage) -> Failure:
    """`failure`, which says that so much was spent before it, too."""
    return failure if spent == Usage() else with_usage(failure, usage_in(failure) + spent)


def with_usage(failure: Failure, usage: Usage) -> Failure:
    """`failure`, which says that the answer has used so much."""
    return replace(failure, details={**failure.details, "usage": asdict(replace(usage, wasted_tokens=0))})
