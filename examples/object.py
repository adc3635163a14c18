"""An object as tools: each public method is one; calls to it run one at a time, in the order of the response."""

import anyio

from toolwire import Agent, Runtime, scripted


class Account:
    """Money. No lock is needed: two of its methods never run at once."""

    def __init__(self) -> None:
        self.balance = 100

    async def pay(self, amount: int) -> int:
        """Take money out."""
        before = self.balance
        await anyio.sleep(0.01)  # where another call could come between, if it were let
        self.balance = before - amount
        return self.balance

    def statement(self) -> str:
        """What is left."""
        return f"{self.balance} euros"


async def main() -> None:
    model = scripted([[("pay", {"amount": 30}), ("pay", {"amount": 20}), ("statement",)], "50 euros are left."])
    async with Runtime() as runtime:
        await runtime.serve(Account())
        chat = await runtime.converse(Agent("teller", model))
        reply = await chat.say("Pay 30, then 20. What is left?")
        print([call.value for call in reply.calls], reply.text)


anyio.run(main)
