"""The interval of a share in which a tie is half a win, and answers about one pair belong together."""

from collections.abc import Sequence

Z = 1.959964
"""The 97.5 % quantile of the normal distribution."""


def of_share(share: float, n: float) -> tuple[float, float]:
    """Return the ends (95 %) of Wilson's score interval (1927, JASA 22, 209-212) of a share of `n` > 0 trials."""
    middle = share + Z**2 / (2 * n)
    half = Z * (share * (1 - share) / n + Z**2 / (4 * n**2)) ** 0.5
    scale = 1 + Z**2 / n
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def of_rates(rates: Sequence[float]) -> tuple[float, float, float] | None:
    """Return share, lower and upper end from each pair's share of wins; None without any pair.

    One trial per pair, however many answered it: two answers to one pair say less than answers to two pairs.
    """
    if not rates:
        return None
    share = sum(rates) / len(rates)
    return (share, *of_share(share, len(rates)))
