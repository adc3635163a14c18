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
        return msgspec.convert(told, Usage)
    except msgspec.ValidationError:
        return Usage()


def with_usage(failure: Failure, usage: Usage) -> Failure:
    """`failure`, which says that the answer has used so much."""
    return replace(failure, details={**failure.details, "usage": asdict(usage)})
