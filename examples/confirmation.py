"""A call that a person has to confirm: the turn pauses before it, and goes on from there once somebody has answered."""

import anyio

from toolwire import Runtime, scripted, tool

DEAR = 100.0
"""Euros from which a person is asked."""


@tool(confirm=lambda order: f"it costs {order.price:g} euros" if order.price > DEAR else "")
async def buy(what: str, price: float) -> str:
    """Buy something."""
    return f"{what} for {price:g} euros"


model = scripted(
    [
        [("buy", {"what": "a chair", "price": 180}), ("buy", {"what": "a lamp", "price": 40})],
        "The lamp is bought, and a cheaper chair too.",
    ]
)


async def main() -> None:
    """Ask for two things, of which one is dear, and let a person bring its price down."""
    async with Runtime() as runtime:
        await runtime.serve(buy)
        chat = await runtime.converse(model=model)
        reply = await chat.say("A chair and a lamp, please.")
        for call in reply.pending:
            print(f"{reply.ended}: {call.name}({call.arguments}), for {call.reason}")
            done = await chat.answer(call, "approve", {"what": "a stool", "price": 60})
            if done is not None:
                print([result.value for result in done.calls], done.text)


anyio.run(main)
