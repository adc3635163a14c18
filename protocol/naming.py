"""What a tool may be called: by its author, by whoever serves it, and by providers.

A name is any printable text of 1 to 256 characters. Providers take less (`ACCEPTED`), so `formats/` maps what they
would refuse, both ways; dots are common (41 of 100 functions of the leaderboard BFCL have them).

Whoever serves tools may put something before their names, and the two ways mean two things. A `prefix` becomes a
part of the name (`car` and `start` give `car_start`), which every provider takes as it is. A `namespace` stands before
a dot (`files` and `read` give `files.read`): it groups tools, `files.*` means all of them, it may have dots itself.
With both the namespace stands outermost: `home.car_start`.
"""

import re
from typing import Final

from msgspec import Struct

from .failures import Misuse, failed

ACCEPTED: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""What OpenAI and Anthropic accept. MCP accepts it too, and Gemini, if a letter or _ stands first."""

LONGEST: Final = 256
"""Characters of a name. The longest of real tools have about 100."""

_PART = re.compile(r"[a-zA-Z0-9_-]+")
_NAMESPACE = re.compile(r"[a-zA-Z0-9_-]+(\.[a-zA-Z0-9_-]+)*")


class Naming(Struct, frozen=True, gc=False):
    """What whoever serves tools puts before their names, or `instead` of the one that there is."""

    prefix: str = ""
    namespace: str = ""
    instead: str = ""

    def of(self, name: str) -> str:
        """What the tool `name` is called where it is served."""
        if self.instead:
            return self.instead
        prefixed = f"{self.prefix}_{name}" if self.prefix else name
        return f"{self.namespace}.{prefixed}" if self.namespace else prefixed


PLAIN: Final = Naming()


def naming(prefix: str, namespace: str) -> Naming:
    """What is put before names. Raises Misuse for what would hide where a name begins."""
    if prefix and _PART.fullmatch(prefix) is None:
        said = f"a prefix has letters, digits, _ and - only, not {prefix!r:.100}; a namespace may have dots"
        raise Misuse(failed("invalid_call", said))
    if namespace and _NAMESPACE.fullmatch(namespace) is None:
        said = f"a namespace has letters, digits, _ and -, and dots between its parts, not {namespace!r:.100}"
        raise Misuse(failed("invalid_call", said))
    return Naming(prefix, namespace)


def accepted(name: str) -> bool:
    """Whether every provider takes `name` as it is."""
    return ACCEPTED.fullmatch(name) is not None


def unfit(name: str) -> str | None:
    """Why nothing can be called `name`, in a sentence; None if it can."""
    if not name:
        return "a tool needs a name"
    if len(name) > LONGEST:
        return f"a name has at most {LONGEST} characters; {name[:40]!r}… has {len(name)}"
    if not name.isprintable() or name != name.strip():
        return f"{name!r:.100} has characters that can't be seen"
    return None
