"""A history is a value: keep it, go on from it elsewhere, try another way from a point of it, take something back."""

import anyio

from toolwire import Agent, History, Runtime, scripted


def remember(what: str) -> str:
    """Remember something."""
    return f"{what} noted"


def agent(*lines: str) -> Agent:
    return Agent("diary", scripted([("remember", {"what": "rain"}), *lines]), "Be brief.", tools=[remember])


async def main() -> None:
    async with Runtime() as runtime:
        chat = await runtime.converse(agent("It rains.", "Take a coat.", "Stay at home."))
        await chat.say("It rains. Remember that.")
        kept = chat.history().to_json()  # a document of our own; to_openai() and to_anthropic() are theirs
        other = await chat.branch()
        print("here:", (await chat.say("What do I wear?")).text)
        print("in a branch:", (await other.say("What do I do?")).text)
        await chat.rewind()
        print(f"{len(chat.history())} messages are left, {len(other.history())} stand in the branch")

    async with Runtime() as runtime:  # tomorrow, in another process
        model = scripted([lambda request: f"I remember {len(request.messages)} messages."])
        chat = await runtime.converse(model=model, history=History.from_json(kept))
        print((await chat.say("What was yesterday?")).text)


anyio.run(main)
