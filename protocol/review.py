"""What a model, or a provider, will stumble over in tools: a pure look at their specs.

A finding is no error: the tools work. It says what makes a model choose or call them wrongly, or costs tokens in each
request.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from msgspec import Struct

from .formats.names import OPENAI
from .naming import accepted
from .tools import ToolSpec, encode_json

NAMED = 3
"""Tools of the same description that are named; of more only how many there are."""

LONGEST: Final = 1_024
"""Characters of a description: what OpenAI takes."""

PARAMETER: Final = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
"""What Anthropic accepts as the name of a top-level property."""

CODES: Final[dict[str, str]] = {
    "name_refused": "providers refuse the name, so that it is sent as another",
    "parameter_refused": "a provider refuses the name of a parameter",
    "no_description": "nothing says what the tool does",
    "one_word": "one word is no description",
    "too_long": f"the description has more than {LONGEST:,} characters",
    "same_description": "another tool says the same of itself",
    "undescribed": "nothing says what a parameter means",
}
"""Every kind of finding, and what it says."""


class Finding(Struct, frozen=True, gc=False):
    """One thing to mend: its code (see `CODES`), and a sentence for the author of the tool."""

    code: str
    message: str


class Reviewed(Struct, frozen=True, gc=False):
    """One tool: the characters of its parameters' schema as JSON, and what was found.

    `lazy`: it is not loaded, so that only what was announced of it could be looked at.
    """

    name: str
    characters: int
    findings: tuple[Finding, ...] = ()
    lazy: bool = False


class Review(Struct, frozen=True, gc=False):
    """All tools, in the order given; `characters` is the sum over their schemas, `found` the number of findings."""

    tools: tuple[Reviewed, ...]
    characters: int
    found: int


def review(specs: Iterable[ToolSpec]) -> Review:
    """What there is to mend in `specs`."""
    looked_at = list(specs)
    saying: defaultdict[str, list[str]] = defaultdict(list)
    for spec in looked_at:
        saying[" ".join(spec.description.split())].append(spec.name)
    tools = tuple(reviewed(spec, saying[" ".join(spec.description.split())]) for spec in looked_at)
    return Review(tools, sum(tool.characters for tool in tools), sum(len(tool.findings) for tool in tools))


def reviewed(spec: ToolSpec, alike: Iterable[str] = ()) -> Reviewed:
    """One tool; `alike` names the tools with the same description, itself or not."""
    findings = (*_of_name(spec.name), *_of_description(spec, alike), *_of_parameters(spec.parameters))
    size = len(encode_json(spec.parameters).decode())
    return Reviewed(spec.name, size, findings, bool(spec.lazy))


def _of_name(name: str) -> Iterator[Finding]:
    if not accepted(name):
        said = f"providers refuse the name {name!r:.100}, which is not 1 to 64 of A-Z a-z 0-9 _ -"
        said = f"{said}: a model is told {OPENAI.told(name)!r}"
        yield Finding("name_refused", said)


def _of_description(spec: ToolSpec, alike: Iterable[str]) -> Iterator[Finding]:
    words = spec.description.split()
    if not words:
        yield Finding("no_description", "it has no description: say what it does, and when to call it")
        return
    if len(words) == 1:
        yield Finding("one_word", f"one word is no description: {words[0]!r:.60}")
    if len(spec.description) > LONGEST:
        said = f"the description has {len(spec.description):,} characters, and providers take {LONGEST:,}"
        yield Finding("too_long", said)
    others = [name for name in alike if name != spec.name]
    if others:
        shown = ", ".join(others[:NAMED]) + (f" and {len(others) - NAMED} more" if len(others) > NAMED else "")
        yield Finding("same_description", f"the same description as {shown}: a model can't tell them apart")


def _of_parameters(schema: Mapping[str, Any]) -> Iterator[Finding]:
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return
    undescribed = []
    for name, part in properties.items():
        if PARAMETER.fullmatch(name) is None:
            yield Finding("parameter_refused", f"Anthropic refuses the parameter's name {name!r:.100}")
        if not _is_described(part, schema):
            undescribed.append(name)
    for name in undescribed:
        yield Finding("undescribed", f"the parameter {name!r:.100} has no description")


def _is_described(part: Any, schema: Mapping[str, Any]) -> bool:
    """Whether a parameter says what it means, by itself or by the definition that it refers to."""
    if not isinstance(part, Mapping):
        return False
    if str(part.get("description", "")).strip():
        return True
    reference = part.get("$ref")
    if not isinstance(reference, str) or not reference.startswith("#/$defs/"):
        return False
    definitions = schema.get("$defs")
    named = definitions.get(reference.removeprefix("#/$defs/")) if isinstance(definitions, Mapping) else None
    return isinstance(named, Mapping) and bool(str(named.get("description", "")).strip())
