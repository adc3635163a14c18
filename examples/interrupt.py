"""A turn that is interrupted: by a person who presses stop, and by one who says something else meanwhile."""

import anyio

from toolwire import Agent, CallStarted, Runtime, scripted, spoken, tool


@tool
async def search(word: str) -> str:
    await anyio.sleep(60)
    return f"all about {word}"


async def main() -> None:
    model = scripted([("search", {"word": "cats"}), ("search", {"word": "dogs"}), spoken("Fine, no more.", every=0.1)])
    async with Runtime() as runtime, anyio.create_task_group() as tasks:
        chat = await runtime.converse(Agent("librarian", model, tools=[search], when_busy="interrupt"))
        async with chat.stream("Find out about cats.") as events:
            async for event in events:
                if isinstance(event, CallStarted):
                    await chat.interrupt()  # the tool is cancelled, and the stream goes on to its last event
                print(type(event).__name__, end=" ")

        async def ask() -> None:
            print("\n", (await chat.say("And about dogs?")).ended)

        tasks.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        print((await chat.say("Never mind.")).text)
        print([type(message).__name__ for message in chat.history()])


anyio.run(main)
