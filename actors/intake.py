"""How the JSON text of a call becomes what a function is called with: decoded, mended if need be, sanitized."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ..protocol.arguments import LARGEST, Checker, Understood, parse
from ..protocol.envelope import NO_MESSAGE
from ..protocol.failures import Failure, failed
from ..protocol.redaction import SHORTEST, scrubbed, scrubbed_deep
from ..protocol.sanitizers import Refused, Sanitizers, cleaned, sanitized, unremarkable
from ..protocol.schema import Untyped
from ..protocol.secret import HIDDEN, Secret
from ..protocol.tools import Mended, ToolSpec, encode_json
from .gate import Gate
from .packing import Packing
from .tool import Tool

JSON_TYPES = {"string": str, "integer": int, "number": float, "boolean": bool, "array": list, "object": dict}
"""What a parameter counts as for sanitizers by type, where there is only a schema."""


class Customs(Struct, frozen=True):
    """What a runtime does with arguments: `lenient` where a tool does not say otherwise."""

    lenient: bool = True
    repair: bool = False
    sanitizers: Sanitizers = msgspec.field(default_factory=Sanitizers)

    def understood(self, spec: ToolSpec, checker: Checker, text: str) -> Understood | None:
        """What `text` means as arguments of a tool; None if it fits as it stands. Raises Refused."""
        understood = checker.understand(text, lenient=self.is_lenient(spec), repair=self.repair)
        if isinstance(understood, Failure):
            raise Refused(understood)
        return understood

    def is_lenient(self, spec: ToolSpec) -> bool:
        """Whether arguments for a tool may be mended."""
        return self.lenient if spec.lenient is None else spec.lenient


class Intake:
    """Takes the arguments of one tool's calls. A call that is right pays for a look at its text (0.2 µs), no more."""

    __slots__ = ("_customs", "_hidden", "_raw", "_read", "_steps", "gate", "packing", "tool")

    def __init__(self, tool: Tool[Any], customs: Customs, gate: Gate | None = None) -> None:
        self.tool = tool
        self.gate = gate
        self.packing: Packing | None = None
        own = tool.sanitize
        self._customs = customs
        types = types_of(tool)
        self._raw = frozenset(name for name, sanitizer in own.items() if sanitizer is None)
        steps = customs.sanitizers.of(types, own)
        self._steps = {name: found for name, found in steps.items() if name not in self._raw}
        redaction = tool.checker.redaction
        self._hidden = frozenset(name for name in types if redaction is not None and redaction.hides(name))
        self._read = tool.signature.read

    def take(self, text: str) -> tuple[dict[str, Any], tuple[Mended, ...]]:
        """What to call the function with, but for what the runtime fills in, and what was changed for that.

        Raises Refused, with every error there is, and what else a sanitizer raises.
        """
        if len(text) > LARGEST:
            raise Refused(self.tool.checker.judge(text) or self._unread(ValueError("it is too long")))
        try:
            values = self._read(text)
        except NO_MESSAGE as error:
            return self._take_mended(text, error)
        if not self._steps and unremarkable(text):
            return values, ()
        return self._sanitized(values, text, ())

    def _take_mended(self, text: str, error: Exception) -> tuple[dict[str, Any], tuple[Mended, ...]]:
        understood = self._customs.understood(self.tool.spec, self.tool.checker, text)
        if understood is None:
            raise Refused(self._unread(error)) from error
        try:
            values = self._read(understood.text)
        except NO_MESSAGE as other:
            raise Refused(self._unread(other)) from other
        return self._sanitized(values, understood.text, understood.mended)

    def _sanitized(
        self, values: dict[str, Any], text: str, mended: tuple[Mended, ...]
    ) -> tuple[dict[str, Any], tuple[Mended, ...]]:
        if not unremarkable(text):
            arguments = parse(text)
            if isinstance(arguments, Failure):
                raise Refused(arguments)
            clean, changed = cleaned(arguments, self._raw, self.tool.checker.redaction)
            if changed:
                values, mended = self._reread(encode_json(clean).decode()), mended + changed
        if self._steps:
            there = values[self.tool.signature.takes] if isinstance(self.tool.signature, Untyped) else values
            mended += sanitized(there, self._steps, self._hidden)
        return values, mended

    def _reread(self, text: str) -> dict[str, Any]:
        """The arguments after they were changed, which may make them too long, or of a forbidden form."""
        try:
            return self._read(text)
        except NO_MESSAGE as error:
            raise Refused(self.tool.checker.judge(text) or self._unread(error)) from error

    def _unread(self, error: Exception) -> Failure:
        """What the decoder says of a text that fits the schema, and is refused all the same."""
        said = "a value that the function's types take" if self.tool.checker.redaction is not None else str(error)
        errors = [{"pointer": "", "expected": said, "got": ""}]
        return failed("invalid_arguments", f"the arguments are not what the tool takes: {said}", errors=errors)

    def scrubbed(self, failure: Failure, values: Mapping[str, Any]) -> Failure:
        """`failure` of a call that was made with `values`, without the secrets among them."""
        redaction = self.tool.checker.redaction
        if redaction is None:
            return failure
        signature = self.tool.signature
        if isinstance(signature, Untyped):
            secrets = redaction.hidden(values[signature.takes])
        else:
            filled = {*signature.filled, *signature.injected}
            secrets = revealed({name: value for name, value in values.items() if name not in filled})
        message, details = scrubbed(failure.message, secrets), scrubbed_deep(failure.details, secrets)
        return replace(failure, message=message, details=details)


def types_of(tool: Tool[Any]) -> dict[str, Any]:
    """The type of each parameter."""
    if isinstance(tool.signature, Untyped):
        properties = tool.spec.parameters.get("properties", {})
        kinds = {name: node.get("type") if isinstance(node, dict) else None for name, node in properties.items()}
        return {name: JSON_TYPES.get(kind, Any) if isinstance(kind, str) else Any for name, kind in kinds.items()}
    return {field.name: field.type for field in msgspec.structs.fields(tool.signature.arguments)}


def revealed(values: Mapping[str, Any]) -> list[str]:
    """The texts that the secrets among `values`, however deep, hide."""
    found: list[str] = []

    def reveal(value: object) -> str:
        if isinstance(value, Secret) and len(text := str(value.reveal())) >= SHORTEST:
            found.append(text)
        return HIDDEN

    msgspec.to_builtins(dict(values), enc_hook=reveal, str_keys=True)
    return found
