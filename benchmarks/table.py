"""Figures as people read them."""

from collections.abc import Iterable

from .measure import Figure

HEADER = ("", "Toolwire (min to max)", "", "others", "ratio", "budget", "")


def number(value: float) -> str:
    """Three digits that matter, thousands apart."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004 - three digits


def row(figure: Figure) -> tuple[str, ...]:
    """One line."""
    spread = f"{number(figure.value)} ({number(figure.min)} to {number(figure.max)})"
    others = ", ".join(f"{name} {number(value)}" for name, value in figure.floors.items())
    ratios = ", ".join(f"{value:.2f} x {name}" for name, value in figure.ratios.items())
    verdict = {True: "holds", False: "MISSED", None: ""}[figure.holds]
    return (figure.name, spread, figure.unit, others, ratios, figure.budget or "", verdict)


def table(rows: Iterable[tuple[str, ...]]) -> str:
    """Columns of equal width."""
    lines = [HEADER, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(line.rstrip() for line in padded)
