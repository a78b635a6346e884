"""What a measurement returns, and the table it is printed in."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One measured number beside what was promised (`at_most` or `at_least`; None: only shown)."""

    claim: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None

    @property
    def verdict(self) -> str:
        if self.at_most is not None:
            return "kept" if self.value <= self.at_most else "MISSED"
        if self.at_least is not None:
            return "kept" if self.value >= self.at_least else "MISSED"
        return ""

    @property
    def promised(self) -> str:
        if self.at_most is not None:
            return f"at most {self.at_most:g} {self.unit}"
        return f"at least {self.at_least:g} {self.unit}" if self.at_least is not None else ""


def table(figures: Sequence[Figure]) -> str:
    """A Markdown table of the figures."""
    lines = ["| claim | measured | promised | |", "|---|---|---|---|"]
    lines += [
        f"| {figure.claim} | {figure.value:.3g} {figure.unit} | {figure.promised} | {figure.verdict} |"
        for figure in figures
    ]
    return "\n".join(lines)
