"""Options from the environment and from files: `toolwire.toml`, `[tool.toolwire]` of `pyproject.toml`, here or above.

Cyclopts has a reader of TOML too, but it takes a key that is also the name of a command, as `tools` is, for a table
of that command.
"""

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cyclopts import App, ArgumentCollection, Token
from cyclopts.config import Env

from ....protocol.failures import Misuse, failed


class Environment(Env):
    """Options from variables, such as TOOLWIRE_NATS. What is told by its place on the line has none."""

    def __call__(self, app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        """Fill in what a command was not told."""
        options = [each for each in arguments if any(name.startswith("--") for name in each.names)]
        super().__call__(app, commands, ArgumentCollection(options))  # type: ignore[no-untyped-call]  # list's own


class File:
    """Options from one kind of file; `keys` lead to their table. It gives way to what has been said before it."""

    def __init__(self, name: str, *keys: str) -> None:
        self._name = name
        self._keys = keys

    def __repr__(self) -> str:
        return f"<File {self._name} {'.'.join(self._keys)}>".replace(" >", ">")

    def __call__(self, app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        """Fill in what a command was not told. Keys that it does not know are for others."""
        path = self._nearest()
        if path is None:
            return
        table = self._table(path)
        for argument in arguments:
            key = next((name[2:] for name in argument.names if name.startswith("--") and name[2:] in table), None)
            if key is not None and not argument.tokens:
                for n, value in enumerate(words(table[key])):
                    argument.append(Token(keyword=f"{key} in {path}", value=value, source=str(path), index=n))

    def _nearest(self) -> Path | None:
        here = Path.cwd()
        found = (folder / self._name for folder in (here, *here.parents))
        return next((path for path in found if path.is_file()), None)

    def _table(self, path: Path) -> dict[str, Any]:
        try:
            table: Any = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise Misuse(failed("invalid_call", f"{path} can't be read: {error}")) from None
        for key in self._keys:
            table = table.get(key, {}) if isinstance(table, dict) else {}
        return table if isinstance(table, dict) else {}


def words(value: object) -> Iterable[str]:
    """A value as it would be typed."""
    for each in value if isinstance(value, list) else [value]:
        yield str(each).lower() if isinstance(each, bool) else str(each)
