"""docs/types.md tells the truth: each of its rows is decorated, its schema compared, its JSON decoded."""

import json
import re
import sys
from collections.abc import Iterator
from inspect import Parameter, Signature
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from toolwire import Misuse
from toolwire.protocol.arguments import Checker
from toolwire.protocol.schema import describe

DOCUMENT = (Path(__file__).parents[1] / "docs" / "types.md").read_text(encoding="utf-8")
CELL = re.compile(r"(?<!\\)\|")


def rows(columns: int) -> list[list[str]]:
    """The cells of each row of the table that has so many columns, without their code marks."""
    lines = [CELL.split(line.strip())[1:-1] for line in DOCUMENT.splitlines() if line.startswith("| `")]
    return [[cell.strip().replace("\\|", "|").strip("`") for cell in row] for row in lines if len(row) == columns]


ACCEPTED = rows(4)
REFUSED = rows(2)


@pytest.fixture(scope="module")
def names() -> Iterator[dict[str, Any]]:
    """What the first block of the document defines."""
    module = ModuleType("types_document")
    sys.modules[module.__name__] = module
    found = re.search(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    assert found is not None
    exec(found[1], module.__dict__)  # noqa: S102 - it is our own document
    yield module.__dict__
    del sys.modules[module.__name__]


def described(kind: Any) -> Any:
    def function(it: Any) -> None: ...

    function.__signature__ = Signature([Parameter("it", Parameter.KEYWORD_ONLY, annotation=kind)])  # type: ignore[attr-defined]
    return describe(function)


@pytest.mark.parametrize(("annotation", "schema", "given", "value"), ACCEPTED)
def test_what_is_said_to_be_accepted_is(
    annotation: str, schema: str, given: str, value: str, names: dict[str, Any]
) -> None:
    signature = described(eval(annotation, names))  # noqa: S307 - it is our own document
    node, definitions = signature.parameters["properties"]["it"], signature.parameters.get("$defs")
    assert (node if definitions is None else {**node, "$defs": definitions}) == json.loads(schema)
    text = f'{{"it": {given}}}'
    assert Checker(signature.parameters).judge(text) is None
    assert repr(signature.read(text)["it"]) == value


@pytest.mark.parametrize(("annotation", "reason"), REFUSED)
def test_what_is_said_to_be_refused_is(annotation: str, reason: str, names: dict[str, Any]) -> None:
    with pytest.raises(Misuse) as refused:
        described(eval(annotation, names))  # noqa: S307 - it is our own document
    assert refused.value.failure.message.endswith(f"has no JSON Schema: {reason}")


def test_the_tables_are_there() -> None:
    assert len(ACCEPTED) > 50
    assert len(REFUSED) > 3
