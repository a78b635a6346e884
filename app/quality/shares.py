"""Shares with the interval that their number of trials allows."""

from dataclasses import dataclass

Z = 1.959964
"""The 97.5 % quantile of the normal distribution."""


@dataclass(frozen=True)
class Share:
    """`hits` of `trials`, with the 95 % score interval of Wilson (1927, JASA 22, 209-212); all None without trials."""

    hits: int
    trials: int

    @property
    def value(self) -> float | None:
        return self.hits / self.trials if self.trials else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """(p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n), within 0 and 1."""
        if not self.trials:
            return None
        n, share = self.trials, self.hits / self.trials
        middle = share + Z**2 / (2 * n)
        half = Z * (share * (1 - share) / n + Z**2 / (4 * n**2)) ** 0.5
        scale = 1 + Z**2 / n
        return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)

    def excludes(self, value: float) -> bool:
        """Whether the interval leaves this value out."""
        return self.interval is not None and not self.interval[0] <= value <= self.interval[1]
