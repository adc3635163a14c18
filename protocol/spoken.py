"""What lets our words be told in a format of others and be heard from it: `to_<format>()` and `from_<format>()`.

The translations themselves are pure functions in `formats/`. They are found by name and loaded on first use, because
they are made of the words that stand here, and because most programs speak one format of the five.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar, Self

FORMATS = ("openai", "openai_responses", "anthropic", "gemini", "mcp")
"""The vocabularies of others that are spoken here; each is a module of that name in `formats/`."""

SAME: Mapping[str, str] = {}
"""No name differs."""


def format_named(name: str) -> Any:
    """The `formats.contract.Format` of a vocabulary. Raises KeyError for one that is not spoken here."""
    if name not in FORMATS:
        raise KeyError(name)
    return import_module(f".formats.{name}", __package__).FORMAT


class Heard:
    """Can be heard from each format.

    `names` leads from their names of tools to ours, where they differ (`formats.names.names_back`). Each raises
    msgspec.ValidationError or ValueError for what is nothing of the kind.
    """

    __slots__ = ()
    _word: ClassVar[str] = ""

    @classmethod
    def _from(cls, name: str, theirs: Any, names: Mapping[str, str]) -> Any:
        return getattr(format_named(name), f"{cls._word}_from")(theirs, names)

    @classmethod
    def from_openai(cls, theirs: Any, names: Mapping[str, str] = SAME) -> Self:
        """From OpenAI Chat Completions."""
        heard: Self = cls._from("openai", theirs, names)
        return heard

    @classmethod
    def from_openai_responses(cls, theirs: Any, names: Mapping[str, str] = SAME) -> Self:
        """From OpenAI Responses."""
        heard: Self = cls._from("openai_responses", theirs, names)
        return heard

    @classmethod
    def from_anthropic(cls, theirs: Any, names: Mapping[str, str] = SAME) -> Self:
        """From Anthropic Messages."""
        heard: Self = cls._from("anthropic", theirs, names)
        return heard

    @classmethod
    def from_gemini(cls, theirs: Any, names: Mapping[str, str] = SAME) -> Self:
        """From Gemini, in the JSON of its REST interface."""
        heard: Self = cls._from("gemini", theirs, names)
        return heard

    @classmethod
    def from_mcp(cls, theirs: Any, names: Mapping[str, str] = SAME) -> Self:
        """From the Model Context Protocol."""
        heard: Self = cls._from("mcp", theirs, names)
        return heard


class Spoken(Heard):
    """Can be told in each format, as plain JSON values, and heard from it."""

    __slots__ = ()

    def _to(self, name: str) -> Any:
        return getattr(format_named(name), f"{self._word}_to")(self)

    def to_openai(self) -> Any:
        """For OpenAI Chat Completions."""
        return self._to("openai")

    def to_openai_responses(self) -> Any:
        """For OpenAI Responses."""
        return self._to("openai_responses")

    def to_anthropic(self) -> Any:
        """For Anthropic Messages."""
        return self._to("anthropic")

    def to_gemini(self) -> Any:
        """For Gemini, in the JSON of its REST interface."""
        return self._to("gemini")

    def to_mcp(self) -> Any:
        """For the Model Context Protocol."""
        return self._to("mcp")


class SpokenTool(Heard):
    """A tool that can be told in each format, `strict` where its schema allows it (`formats.strict` says why not)."""

    __slots__ = ()

    def _to(self, name: str, strict: bool) -> dict[str, Any]:  # noqa: FBT001 - handed on
        told: dict[str, Any] = format_named(name).tool_to(self, strict=strict)
        return told

    def to_openai(self, *, strict: bool = False) -> dict[str, Any]:
        """An entry of `tools` of OpenAI Chat Completions."""
        return self._to("openai", strict)

    def to_openai_responses(self, *, strict: bool = False) -> dict[str, Any]:
        """An entry of `tools` of OpenAI Responses."""
        return self._to("openai_responses", strict)

    def to_anthropic(self, *, strict: bool = False) -> dict[str, Any]:
        """An entry of `tools` of Anthropic Messages."""
        return self._to("anthropic", strict)

    def to_gemini(self, *, strict: bool = False) -> dict[str, Any]:
        """An entry of `functionDeclarations` of a tool of Gemini."""
        return self._to("gemini", strict)

    def to_mcp(self, *, strict: bool = False) -> dict[str, Any]:
        """A tool as an MCP server lists it. MCP has no strict mode."""
        return self._to("mcp", strict)
