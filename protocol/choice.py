"""Which tools a model may, must or must not call in a turn: auto, none, required, or the name of one."""

from collections.abc import Sequence
from difflib import get_close_matches

from .failures import Failure, failed

CHOICES = frozenset(("auto", "none", "required"))
"""What a tool choice may be beside the name of a tool."""


def is_name(choice: str) -> bool:
    """Whether a tool choice is the name of a tool."""
    return choice not in CHOICES


def after_first(choice: str) -> str:
    """What holds after the first response: with a call in each the turn would never end."""
    return choice if choice == "none" else "auto"


def not_on_offer(choice: str, names: Sequence[str]) -> Failure | None:
    """Why a model can't be asked to call what it is to call, with the name that may be meant; None if it can."""
    if choice in names or choice in ("auto", "none") or (choice == "required" and names):
        return None
    if choice == "required":
        return failed("unknown_tool", 'tool_choice="required": no tool is on offer that could be called')
    near = get_close_matches(choice, names, 1)
    hint = f"do you mean {near[0]!r}?" if near else f"there are: {', '.join(sorted(names)[:20]) or 'none'}"
    return failed("unknown_tool", f"tool_choice: there is no tool {choice[:100]!r} on offer; {hint}")
