"""A model of one's own: anything with `complete`. This one adds the numbers that it hears, by asking a tool."""

import re

import anyio

from toolwire import ModelReply, ModelRequest, Runtime, ToolCall, ToolMessage, UserMessage


class Adder:
    """Whoever can be heard while he speaks has `stream` beside it, see docs/streaming.md."""

    async def complete(self, request: ModelRequest) -> ModelReply:
        last = request.messages[-1]
        if isinstance(last, ToolMessage):
            return ModelReply(f"It is {last.content}.")
        numbers = [int(number) for number in re.findall(r"\d+", last.text)] if isinstance(last, UserMessage) else []
        if not numbers:
            return ModelReply("I know nothing but numbers.")
        call = ToolCall(f"sum-{len(request.messages)}", request.tools[0].name, {"numbers": numbers})
        return ModelReply(calls=(call,), finish="calls")


def add(numbers: list[int]) -> int:
    """The sum."""
    return sum(numbers)


async def main() -> None:
    async with Runtime() as runtime:
        chat = await runtime.converse(model=Adder(), tools=[add])
        for text in ("What are 20, 20 and 2?", "How are you?"):
            print((await chat.say(text)).text)


anyio.run(main)
