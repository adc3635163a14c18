"""An answer of a type: the model is asked again, a few times, until it fits. And an image is shown to it."""

from typing import Literal

import anyio
from msgspec import Struct

from toolwire import Agent, Blob, Runtime, scripted

SQUARE = bytes.fromhex(  # a PNG of one pixel
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8cfc0"
    "000003010100c9fe92ef0000000049454e44ae426082"
)


class Shape(Struct):
    """What is seen in a picture."""

    kind: Literal["circle", "square"]
    corners: int


async def main() -> None:
    model = scripted(['{"kind": "square"}', '{"kind": "square", "corners": 4}', "It is red."])
    async with Runtime() as runtime:
        chat = await runtime.converse(Agent("seer", model))
        reply = await chat.say("What is it?", Blob("image/png", SQUARE), output=Shape)
        print(reply.output, f"after {reply.rounds} rounds")
        print("the model was told:", model.requests[1].messages[-1])
        print((await chat.say("And its colour?")).text)


anyio.run(main)
