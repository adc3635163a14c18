"""What is known of Anthropic's models by their names. Of a name that says nothing nothing is taken for certain."""

import re
from typing import NamedTuple

# claude-opus-4-5-20251101, us.anthropic.claude-sonnet-4-5@20250929, claude-opus-4.1, claude-4-sonnet, claude-3-5-haiku,
# claude-2.1, claude-instant-1.2. Eight digits are a date.
_NAME = re.compile(
    r"claude-(?:"
    r"(?P<family>[a-z]+)-(?P<major>\d{1,2})(?:[-.](?P<minor>\d{1,2})(?!\d))?(?!\d)"
    r"|(?P<older>\d)(?:[-.](?P<later>\d)(?!\d))?(?!\d)(?:-(?P<kind>[a-z]+))?"
    r")"
)
NEWEST = 5
"""Generations of which something is known. Of one that comes after them only the provider knows what it takes."""


class Claude(NamedTuple):
    """A model of Anthropic's; `version` None for one of which nothing is known."""

    family: str
    version: tuple[int, int] | None

    @property
    def budgeted(self) -> bool:
        """Whether it has to be given a number of tokens to think with: those before 4.6, and each Haiku before 5."""
        return self.before(5 if self.family == "haiku" else 4, 0 if self.family == "haiku" else 6)

    @property
    def schemaless(self) -> bool:
        """Whether it can't be held to a schema: those before Opus 4.1 and Sonnet 4.5."""
        return self.before(4, 1)

    @property
    def unsampled(self) -> bool:
        """Whether "a non-default temperature, top_p or top_k returns a 400 error": Opus from 4.7 on, others from 5."""
        return self.since(4, 7) and (self.family == "opus" or self.since(5, 0))

    @property
    def always_thinks(self) -> bool:
        """Whether it can't but think: the table in …/docs/en/build-with-claude/thinking-troubleshooting."""
        return self.since(5, 0) and (self.family in {"fable", "mythos"} or (self.family == "opus" and self.since(5, 5)))

    @property
    def thinks_between_tools(self) -> bool:
        """Whether it then thinks between its calls only, where it is not to think."""
        return self.family == "sonnet" and self.since(5, 5)

    @property
    def unforced(self) -> bool:
        """Whether "forced tool use returns an error", …/docs/en/models/sonnet-5-5/whats-new-sonnet-5-5."""
        return (self.family in {"fable", "mythos"} and self.since(5, 1)) or (
            self.family in {"opus", "sonnet"} and self.since(5, 5)
        )

    @property
    def most_tokens(self) -> int:
        """What one answer may have, at most so many: all but the oldest have 16,000 and more."""
        return 4_096 if self.before(3, 5) else 8_192 if self.before(3, 7) else 16_000

    @property
    def most_thoughts(self) -> int:
        """What it may think beside an answer of 16,000: Opus before 4.5 has 32,000 for both, others 64,000 and more."""
        return 16_000 if self.family == "opus" and self.before(4, 5) else 48_000

    def before(self, major: int, minor: int) -> bool:
        """Whether it is known to be older than that."""
        return self.version is not None and self.version < (major, minor)

    def since(self, major: int, minor: int) -> bool:
        """Whether it is known to be that, or newer."""
        return self.version is not None and (major, minor) <= self.version and self.version[0] <= NEWEST


def claude(name: str) -> Claude | None:
    """Which model of Anthropic's a name tells of; None for somebody else's."""
    if "claude" not in name:
        return None
    found = _NAME.search(name)
    if found is None:
        return Claude("", None)
    family, major, minor, older, later, kind = found.groups()
    if family is None:
        return Claude(kind or "", (int(older), int(later or 0)))
    return Claude(family, (int(major), int(minor or 0)))
