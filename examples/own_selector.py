"""A selector of one's own: tools are chosen by how they are spelt, so that "wether" finds the weather."""

from collections.abc import Callable

import anyio

from toolwire import Runtime, ToolSpec, scripted, tool


def letters(text: str) -> set[str]:
    return {text[n : n + 3].casefold() for n in range(len(text) - 2)}


class Spelling:
    most, always = 2, True  # two tools at most, chosen even where there are no more

    def __init__(self) -> None:
        self.tools: dict[str, set[str]] = {}

    def add(self, spec: ToolSpec) -> None:
        self.tools[spec.name] = letters(f"{spec.name} {spec.description}")

    def remove(self, name: str) -> None:
        self.tools.pop(name, None)

    def select(self, query: str, *, limit: int, among: Callable[[str], bool] | None = None) -> list[str]:
        shared = {n: len(own & letters(query)) for n, own in self.tools.items() if among is None or among(n)}
        return sorted((name for name in shared if shared[name]), key=lambda name: (-shared[name], name))[:limit]


async def main() -> None:
    async with Runtime() as runtime:
        await runtime.serve(*(tool(lambda: None, name=name) for name in ("get_weather", "send_mail", "read_file")))
        model = scripted([lambda request: f"I was offered {[spec.name for spec in request.tools]}."])
        print((await (await runtime.converse(model=model, selector=Spelling())).say("the wether?")).text)


if __name__ == "__main__":
    anyio.run(main)
