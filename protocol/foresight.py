"""What is wrong with arguments before the results that they name are there, whatever these may be.

What stands at or under a reference is not known yet. So its errors do not count, nor those of keywords that weigh all
of a value, or choose between schemas by it, above a reference. The full check comes once results are filled in.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from jsonschema_rs import Draft202012Validator, ValidationError

from .arguments import Checker, unfit
from .explanation import OPTIONS, Problem, Schema
from .failures import Failure
from .references import BrokenReference, Reference, scan
from .wording import pointer

WEIGHING: Final = frozenset({
    "anyOf", "oneOf", "not", "if", "const", "enum", "uniqueItems", "contains", "unevaluatedItems",
    "unevaluatedProperties",
})  # fmt: skip
"""Keywords that weigh all of a value."""
CHOSEN: Final = frozenset({"then", "else", "dependentSchemas", "not"})
"""Keywords below which a schema counts only for some values."""
DEEP: Final = frozenset({"allOf", "$ref", "$dynamicRef", "dependentSchemas"})
"""Keywords through which a root can ask more of its own properties."""
MOST: Final = 50
"""Errors that are looked at."""
SHAPES: Final = 64
"""Sets of parameters that hold references for which a validator is kept."""

Steps = list[str | int]


class Foresight:
    """Foresees by the schema of one checker. A call whose references stand at its top costs one quick look."""

    __slots__ = ("_checker", "_exact", "_quick")

    def __init__(self, checker: Checker) -> None:
        self._checker = checker
        self._exact: Draft202012Validator | None = None
        self._quick: dict[tuple[str | int, ...], Callable[[Any], bool] | None] = {}

    def foresee(self, arguments: Any, references: Sequence[Reference], *, lenient: bool) -> Failure | None:
        """Why `arguments`, decoded and with their references in them, can't be right; None if they may be."""
        if self._may_be(arguments, references):
            return None
        places: list[Steps] = [place(reference) for reference in references]
        errors = [error for error in self._errors(arguments) if counts(error, places)]
        if not errors or (lenient and self._mended(arguments)):
            return None
        return unfit(tuple(self._problems(arguments, errors, places)))

    def _may_be(self, arguments: Any, references: Sequence[Reference]) -> bool:
        """Whether they fit, whatever the parameters with references in them hold. A no is uncertain."""
        names: list[str | int] = []
        for reference in references:
            if reference.trail is None or reference.trail[0] is not None:
                return False
            names.append(reference.trail[1])
        key = tuple(names)
        if key not in self._quick:
            if len(self._quick) >= SHAPES:
                self._quick.clear()
            self._quick[key] = quick(self._checker.schema, key)
        fits = self._quick[key]
        return fits is not None and fits(arguments)

    def _mended(self, arguments: Any) -> bool:
        """Whether they may be right once they are mended."""
        meant = self._checker.meant(arguments)
        try:
            places = [place(reference) for reference in scan(meant, ids=True).references]
        except BrokenReference:
            return True  # something in it was changed that is not known yet
        return not any(counts(error, places) for error in self._errors(meant))

    def _errors(self, arguments: Any) -> Iterator[ValidationError]:
        if self._exact is None:
            self._exact = Draft202012Validator(self._checker.schema, **OPTIONS, mask="this value")
        for n, error in enumerate(self._exact.iter_errors(arguments)):
            if n >= MOST:
                return
            yield error

    def _problems(
        self, arguments: Any, errors: Sequence[ValidationError], places: Sequence[Steps]
    ) -> Iterator[Problem]:
        """The errors in the words in which they would be told after the full check."""
        unknown = [pointer(steps) for steps in places]
        told = False
        for problem in self._checker.check(arguments):
            known = not any(f"{problem.pointer}/".startswith(f"{at}/") for at in unknown)
            if (known or problem.keyword == "additionalProperties") and any(explains(problem, e) for e in errors):
                told = True
                yield problem
        if not told:
            for error in errors:
                said = f"what the schema asks ({error.message[:160]})"
                yield Problem(pointer(error.instance_path), said, "something else", error.kind.name)


def place(reference: Reference) -> Steps:
    """Where a reference stands."""
    steps: Steps = []
    trail = reference.trail
    while trail is not None:
        trail, step = trail
        steps.append(step)
    return steps[::-1]


def counts(error: ValidationError, places: Sequence[Steps]) -> bool:
    """Whether an error is there whatever stands at those places."""
    if not places:
        return True
    if not CHOSEN.isdisjoint(map(str, error.schema_path)):
        return False
    at: Steps = list(error.instance_path)
    weighing = error.kind.name in WEIGHING
    return not any(at[: len(steps)] == steps or (weighing and steps[: len(at)] == at) for steps in places)


def explains(problem: Problem, error: ValidationError) -> bool:
    """Whether a problem is what an error is about."""
    at, here = pointer(error.instance_path), problem.pointer
    if error.kind.name in {"anyOf", "oneOf"}:
        return here == at or here.startswith(f"{at}/")  # it may be about the branch that was meant
    return problem.keyword == error.kind.name and at in (here, here.rpartition("/")[0])


def quick(schema: Schema, names: Sequence[str | int]) -> Callable[[Any], bool] | None:
    """Whether arguments fit, whatever those parameters are. None where that can't be asked so simply."""
    if not DEEP.isdisjoint(schema):
        return None
    properties = schema.get("properties", {})
    loose = properties | dict.fromkeys((name for name in map(str, names) if name in properties), True)
    kept = {key: value for key, value in schema.items() if key not in WEIGHING and key not in {"then", "else"}}
    return Draft202012Validator({**kept, "properties": loose}, **OPTIONS).is_valid
