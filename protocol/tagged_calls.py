"""Calls after a mark of their own: the notations of Hermes (and Qwen) and of Mistral.

Hermes: `<tool_call>{"name": …, "arguments": {…}}</tool_call>`, one for each call. Source: vLLM's
`hermes_tool_parser.py`, and Ollama's template of hermes3, which closes several calls with one mark.
Mistral: `[TOOL_CALLS] [{"name": …, "arguments": {…}}, …]`; since version 11 of its tokenizer one for each call,
`[TOOL_CALLS]name{…}`, `[TOOL_CALLS]name[ARGS]{…}` or `[TOOL_CALLS]name[CALL_ID]id[ARGS]{…}`. Source:
`InstructTokenizerV11` and `V13` of mistral-common, and vLLM's `mistral_tool_parser.py`.
"""

import re

from .text_calls import BLANK, Scan, TextCalls, beginning, broken_call, calls_in

LONGEST = 300
"""Characters between the mark and the arguments, where the name stands before them."""


class Tagged(TextCalls):
    """A mark, then calls as JSON: one, or an array of them; where `named`, the name may stand before its arguments.

    A malformed object is a call if it names a tool on offer; else somebody explains how calls are written.
    """

    mark: str
    close = ""
    stop = ""
    named = False

    _held = ""
    _raw = ""
    _listed = False
    _told = False
    _name = ""
    _quotes = True

    def _text(self, rest: str) -> str:
        text = self._held + rest
        at = text.find(self.mark)
        if at >= 0:
            self._held = ""
            self._say(text[:at])
            self._raw, self._listed, self._told, self._name = "", False, False, ""
            self._state = self._opened
            return text[at + len(self.mark) :]
        held = beginning(text, self.mark)
        self._held = text[len(text) - held :]
        self._say(text[: len(text) - held])
        return ""

    def _opened(self, rest: str) -> str:
        """After the mark: what comes first says how it goes on."""
        text = rest.lstrip(BLANK)
        self._raw += rest[: len(rest) - len(text)]
        if not text:
            return ""
        if text[0] == "{":
            return self._begin(text)
        if text[0] == "[":
            self._raw += "["
            self._listed = True
            self._state = self._items
            return text[1:]
        if self.named:
            self._state = self._header
            return text
        return self._no_call(text)

    def _header(self, rest: str) -> str:
        """The name, up to the brace of its arguments."""
        found = _HEADER_ENDS.search(rest)
        end = len(rest) if found is None else found.start()
        self._raw += rest[:end]
        if len(self._raw) > LONGEST:
            return self._no_call(rest[end:])
        if found is None:
            return ""
        header = _HEADER.fullmatch(self._raw) if found[0] == "{" else None
        if header is None:
            return self._no_call(rest[end:])
        self._name = header[1]
        return self._begin(rest[end:])

    def _items(self, rest: str) -> str:
        """Between the calls of an array."""
        text = rest.lstrip(BLANK + ",")
        if not self._told:
            self._raw += rest[: len(rest) - len(text)]
        if not text:
            return ""
        if text[0] == "{":
            return self._begin(text)
        if text[0] == "]" and self._told:
            self._state = self._after
            return text[1:]
        return self._no_call(text)

    def _begin(self, rest: str) -> str:
        self._scan = Scan(self.stop if self._quotes else self.close[:1] or self.mark, quotes=self._quotes)
        self._state = self._value
        return rest

    def _value(self, rest: str) -> str:
        """Inside of an object."""
        end = self._scan.feed(rest)
        if end < 0:
            return ""
        self._tell(self._scan.text, closed=self._scan.closed)
        return rest[end:]

    def _tell(self, text: str, *, closed: bool) -> None:
        """An object has ended: tell the call that it is, or that it is none."""
        self._state = self._items if self._listed else self._after
        if self._name:
            self._call(self._name, text)
        elif (calls := calls_in(text)) is not None:
            for call in calls:
                self._call(*call)
        elif (broken := broken_call(text, closed=closed)) is not None and broken.name in self._offered:
            self._call(*broken)
        else:
            self._say(text if self._told else self.mark + self._raw + text)
            self._state = self._text
        self._told = True
        self._held = ""

    def _after(self, rest: str) -> str:
        """After a call: the mark that closes it, or another call without one; else it is text again."""
        text, self._held = self._held + rest, ""
        bare = text.lstrip(BLANK)
        self._say(text[: len(text) - len(bare)])
        if not bare:
            return ""
        if self.close and bare.startswith(self.close):
            self._gap = ""
            self._state = self._text
            return bare[len(self.close) :]
        if self.close and self.close.startswith(bare):
            self._held = bare
            return ""
        if self.close and bare[0] == "{":
            return self._begin(bare)
        self._state = self._text
        return bare

    def _no_call(self, rest: str) -> str:
        """What came after the mark is no call: the mark is text, and the rest is looked at anew."""
        self._state = self._text
        if self._told:
            return rest
        self._say(self.mark)
        return self._raw + rest

    def _ended(self) -> str:
        state, held = self._state, self._held
        self._state, self._held = self._text, ""
        if state == self._value:
            return self._torn(self._scan.text)
        if state in {self._opened, self._header, self._items} and not self._told:
            self._say(self.mark + self._raw)
        elif state == self._text:
            self._say(held)
        return ""

    def _torn(self, text: str) -> str:
        """An object that does not end. One quote too many hides its end: then the next mark says where it was."""
        end = text.find(self.close or self.mark)
        self._tell(text if end < 0 else text[:end], closed=end >= 0)
        if end < 0:
            self._state = self._text
            return ""
        self._quotes = False
        return text[end:]


class Hermes(Tagged):
    """See above."""

    mark = "<tool_call>"
    close = "</tool_call>"
    stop = "<"


class Mistral(Tagged):
    """See above."""

    mark = "[TOOL_CALLS]"
    named = True


_HEADER = re.compile(r"\s*([^\s\[\]]{1,128})\s*(?:\[CALL_ID\]\s*\w+\s*)?(?:\[ARGS\]\s*)?")
_HEADER_ENDS = re.compile(r'[{}"<\n]')
