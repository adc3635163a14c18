"""Calls as bare JSON: the notation "json", for models that were only told to answer with JSON.

A call is an object with the `name` of a tool on offer and its `arguments` (or `parameters`, as Llama 3.1 says), or an
array of such objects, at the beginning of a line, or alone in a code fence without a language or with `json`. Anything
else is text, and so is a call of a tool that is not on offer. Source: vLLM's `llama_tool_parser.py`; the several calls
on one line that it reads, with `; ` between them, are not read here after the first.
"""

from .text_calls import BLANK, Scan, TextCalls, calls_in

LANGUAGES = frozenset({"", "json", "tool_call", "tool_calls"})
"""What may stand behind the fence of a call."""

FENCE = "```"
LONGEST = 40
"""Characters behind a fence; more are no language."""
INDENT = " \t"
DEEPEST = 100
"""Blanks before a call or a fence on its line; a call has to show within as many that it is one."""

_KEYS = ("name", "arguments", "parameters", "type", "id")
_HEADS = tuple(f'{bracket}"{key}":' for bracket in ("{", "[{") for key in _KEYS)
"""How a call begins, without its blanks."""


class Fenced(TextCalls):
    """See above."""

    _held = ""
    _begins = True
    _raw = ""
    _inside = False
    _pending: tuple[tuple[str, str], ...] = ()

    def _text(self, rest: str) -> str:
        """Text, line by line: what a line begins with says whether a call may."""
        text, self._held = self._held + rest, ""
        if not self._begins:
            at = text.find("\n") + 1
            self._say(text[:at] if at else text)
            self._begins = at > 0
            return text[at:] if at else ""
        bare = text.lstrip(INDENT)
        if len(text) - len(bare) > DEEPEST:
            self._begins = False
            return text
        if not bare or (len(bare) < len(FENCE) and FENCE.startswith(bare)):
            self._held = text
            return ""
        if bare.startswith(FENCE):
            return self._fence(text, bare)
        self._begins = False
        if bare[0] in "{[":
            self._say(text[: len(text) - len(bare)])
            return self._look(bare)
        return text

    def _fence(self, text: str, bare: str) -> str:
        """A line that begins with a fence: what stands behind that says what is in it."""
        end = bare.find("\n")
        if end < 0 and len(bare) <= LONGEST:
            self._held = text
            return ""
        language = bare[len(FENCE) : end].strip(BLANK).lower() if 0 <= end <= LONGEST else FENCE
        self._begins = False
        if FENCE[0] in language:  # a fence that is closed on its line, or no language at all
            return text
        if language not in LANGUAGES:
            self._state = self._code
            return text
        self._raw, self._pending, self._inside = text[: len(text) - len(bare) + end + 1], (), True
        self._state = self._in_fence
        return bare[end + 1 :]

    def _code(self, rest: str) -> str:
        """In a fence without calls: text, to the line that closes it."""
        text, self._held = self._held + rest, ""
        if not self._begins:
            at = text.find("\n") + 1
            self._say(text[:at] if at else text)
            self._begins = at > 0
            return text[at:] if at else ""
        bare = text.lstrip(INDENT)
        if len(text) - len(bare) > DEEPEST:
            self._begins = False
            return text
        if not bare or (len(bare) < len(FENCE) and FENCE.startswith(bare)):
            self._held = text
            return ""
        self._begins = False
        if bare.startswith(FENCE):
            self._state = self._text
        return text

    def _in_fence(self, rest: str) -> str:
        """In a fence that may hold calls, between two of them."""
        text, self._held = self._held + rest, ""
        bare = text.lstrip(BLANK + ",")
        self._raw += text[: len(text) - len(bare)]
        if not bare or (len(bare) < len(FENCE) and FENCE.startswith(bare)):
            self._held = bare
            return ""
        if bare.startswith(FENCE) and self._pending:
            self._tell()
            return bare[len(FENCE) :]
        if bare[0] in "{[":
            return self._look(bare)
        return self._no_call(bare)

    def _look(self, rest: str) -> str:
        """Whether an object, or an array, begins as a call does."""
        text, self._held = self._held + rest, ""
        start = ""
        for part in text[:DEEPEST].split():
            start += part
        if start.startswith(_HEADS):
            self._scan = Scan()
            self._state = self._value
            return text
        if len(text) < DEEPEST and any(head.startswith(start) for head in _HEADS):
            self._held = text
            self._state = self._look
            return ""
        return self._no_call(text)

    def _value(self, rest: str) -> str:
        end = self._scan.feed(rest)
        if end < 0:
            return ""
        text = self._scan.text
        calls = calls_in(text)
        if calls is None or not all(call.name in self._offered for call in calls):
            return self._no_call(text, rest[end:])
        self._pending += tuple(calls)
        if self._inside:
            self._raw += text
            self._state = self._in_fence
        else:
            self._tell()
        return rest[end:]

    def _tell(self) -> None:
        for call in self._pending:
            self._call(*call)
        self._pending, self._raw, self._inside, self._state = (), "", False, self._text

    def _no_call(self, text: str, rest: str | None = None) -> str:
        """What was held back is text. In a fence, so is all of it; the bracket that misled is not looked at again."""
        self._state = self._code if self._inside else self._text
        self._say(self._raw)
        self._pending, self._raw, self._inside, self._begins = (), "", False, False
        if rest is None:
            self._say(text[:1])
            return text[1:]
        self._say(text)
        return rest

    def _ended(self) -> str:
        state, held = self._state, self._held
        self._state, self._held = self._text, ""
        if state == self._in_fence and self._pending:
            self._tell()
        elif state == self._value:
            self._say(self._raw + self._scan.text)
        else:
            self._say(self._raw + held)
        return ""
