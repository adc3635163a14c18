"""The blocks of an answer in their order: our words for those that we have words for, the others as they came."""

from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from ..history import AssistantMessage, Opaque
from ..tools import ToolCall
from .names import Names


class _Kind(Struct, frozen=True, gc=False):
    type: str = ""


_kind = msgspec.json.Decoder(_Kind).decode


def laid_out(
    message: AssistantMessage,
    provider: str,
    names: Names,
    text: Callable[[str], Any],
    call: Callable[[ToolCall], Any],
) -> list[Any]:
    """The blocks of `message` for a provider: its own as it made them, the rest as `text` and `call` tell them.

    A block that stands for a call which is no longer in the message is left out: nobody would answer it. One whose id
    is not among the `names` of the provider, as others who speak its words give them, is told as any call.
    """
    blocks: list[Any] = []
    open_ = {each.id: each for each in message.calls}
    said = 0
    for piece in message.opaque:
        if piece.provider != provider or (piece.call and piece.call not in open_):
            continue
        if piece.raw and (not piece.call or names.call_id(piece.call) == piece.call):
            blocks.append(Raw(piece.raw.encode()))
        elif piece.call:
            blocks.append(call(open_[piece.call]))
        elif piece.text:
            blocks.append(text(message.text[said : said + piece.text]))
        said += piece.text
        open_.pop(piece.call, None)
    if rest := message.text[said:]:
        blocks.append(text(rest))
    return blocks + [call(each) for each in open_.values()]


def kind_of(piece: Opaque) -> str:
    """The type of a block as it came, "" for one in our words."""
    return _kind(piece.raw).type if piece.raw else ""


def not_ending_with(kinds: Container[str], blocks: list[Any]) -> list[Any]:
    """`blocks` up to the last that is of no such type: providers refuse an answer that ends with its thoughts."""
    end = len(blocks)
    while end and type(blocks[end - 1]) is Raw and _kind(blocks[end - 1]).type in kinds:
        end -= 1
    return blocks[:end]


def opaque_of(pieces: Iterable[Opaque]) -> tuple[Opaque, ...]:
    """What has to be kept of all blocks of an answer: nothing where it is one text and then calls, in our words."""
    kept = _merged(pieces)
    end = len(kept)
    while end and not kept[end - 1].raw:
        end -= 1
    rest = kept[end:]
    if any(piece.text for piece in rest[1:]):
        return tuple(kept)
    return tuple(kept[:end])


def _merged(pieces: Iterable[Opaque]) -> Sequence[Opaque]:
    """`pieces` with texts that follow each other as one, as they come in a stream."""
    merged: list[Opaque] = []
    for piece in pieces:
        last = merged[-1] if merged else None
        if last is not None and last.text and piece.text and not last.raw and not piece.raw:
            merged[-1] = Opaque(piece.provider, text=last.text + piece.text)
        else:
            merged.append(piece)
    return merged
