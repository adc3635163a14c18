"""JSON that a model wrote wrongly, read all the same: a code fence around it, or, under a switch, whatever json-repair
makes of it.

A repair is a guess, which is why it is off unless asked for. Three guesses are never made: what was cut off is not
completed, since the part that is missing may be the one that matters; nothing becomes `{}`; of several values none is
chosen.
"""

import re
from typing import Any

import msgspec

LONGEST = 16 * 1024
"""Characters that are repaired. The worst of such texts found took json-repair 0.2 s, and it grows with the square."""

FENCE = "```"
LANGUAGE = re.compile(r"[a-zA-Z0-9]{0,20}[ \t]*\r?\n")
TOKEN = re.compile(r"""["'\\{}\[\]]""")

decode_json = msgspec.json.Decoder().decode


def unfenced(text: str) -> str | None:
    """What stands in the one code fence that all of `text` is; None if it is something else."""
    bare = text.strip()
    if len(bare) < 2 * len(FENCE) or not (bare.startswith(FENCE) and bare.endswith(FENCE)):
        return None
    inside = bare[len(FENCE) : -len(FENCE)]
    language = LANGUAGE.match(inside)
    return None if language is None or FENCE in inside else inside[language.end() :]


def repaired(text: str) -> dict[str, Any] | None:
    """The object that `text`, which is no JSON, was probably meant to be. None if that would be too wild a guess."""
    text = unfenced(text) or text
    bare = text.strip()
    if len(bare) > LONGEST or not (bare.startswith("{") and bare.endswith("}")) or unbalanced(bare):
        return None
    from json_repair import repair_json  # noqa: PLC0415 - 25 ms, and only for who has switched it on

    try:
        # Strict refuses what it would otherwise invent: missing values, several objects, keys without a colon.
        value = decode_json(repair_json(bare, skip_json_loads=True, strict=True))
    except (msgspec.MsgspecError, RecursionError, OverflowError, ValueError):
        return None
    return value if isinstance(value, dict) and value else None


def unbalanced(text: str) -> bool:
    """Whether a bracket or a quote is open at the end: the text was cut off, or lost one."""
    open_now, quote, escaped = 0, "", -1
    for token in TOKEN.finditer(text):
        mark, at = token[0], token.start()
        if at == escaped:
            continue
        if mark == "\\":
            escaped = at + 1
        elif quote:
            quote = "" if mark == quote else quote
        elif mark in "\"'":
            quote = mark
        else:
            open_now += 1 if mark in "{[" else -1
    return bool(open_now or quote)
