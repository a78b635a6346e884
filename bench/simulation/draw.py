"""The study's pictures and tables, from what its stages left behind."""

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from bench.simulation import golds
from bench.simulation.reward import COUNTS, FLIPS, SEEDS

matplotlib.use("svg")
from matplotlib import pyplot

IMAGES = Path(__file__).parents[2] / "docs" / "images"
NORMAL = {"depth": 0.75, "pooling": "all", "flips": FLIPS}


def study(home: Path) -> None:
    """Draw docs/images/simulation-reward.svg and print the tables in Markdown."""
    fits = _lines(home / "reward.jsonl")
    _curves(fits)
    print(_by_labels(fits))
    print(_by_setting(fits, "flips", lambda fit: (fit["depth"], fit["pooling"]) == (0.75, "all")))
    print(_by_setting(fits, ("depth", "pooling"), lambda fit: (fit["flips"], fit["seed"]) == (FLIPS, SEEDS[0])))


def _curves(fits: list[dict[str, Any]]) -> None:
    matplotlib.rcParams.update({"svg.hashsalt": "pairloop", "font.size": 9, "svg.fonttype": "none"})
    figure, panels = pyplot.subplots(2, 3, figsize=(9, 5), sharex=True, sharey=True, layout="constrained")
    for panel, gold in zip(panels.flat, golds.GOLDS, strict=True):
        chosen = [fit for fit in fits if fit["gold"] == gold and _is_normal(fit)]
        values = [[fit["over_ceiling"] for fit in chosen if fit["labels"] == count] for count in COUNTS]
        baseline = np.mean([_over_ceiling(fit["length_baseline"]) for fit in chosen])
        panel.plot(COUNTS, [np.mean(some) for some in values], marker="o", markersize=3)
        panel.fill_between(COUNTS, [min(some) for some in values], [max(some) for some in values], alpha=0.2)
        panel.axhline(baseline, linestyle=":", color="grey")
        panel.set(title=gold, xscale="log", xticks=COUNTS, ylim=(0.5, 1.02))
        panel.set_xticklabels([str(count) for count in COUNTS])
        panel.minorticks_off()
    figure.supxlabel("labels (10 % slips)")
    figure.supylabel("held-out accuracy over its ceiling")
    figure.savefig(IMAGES / "simulation-reward.svg", metadata={"Date": None, "Creator": None})


def _by_labels(fits: list[dict[str, Any]]) -> str:
    rows = {gold: [_mean(fits, gold=gold, labels=count, **NORMAL) for count in COUNTS] for gold in golds.GOLDS}
    rows["mean"] = [float(np.mean(column)) for column in zip(*rows.values(), strict=True)]
    head = ["rule", *(f"{count} labels" for count in COUNTS), "length alone"]
    lines = []
    for gold, values in rows.items():
        alone = [_over_ceiling(fit["length_baseline"]) for fit in fits if _is_normal(fit) and fit["gold"] == gold]
        lines.append([gold, *(f"{value:.3f}" for value in values), f"{np.mean(alone):.3f}" if alone else ""])
    return _table(head, lines)


def _by_setting(
    fits: list[dict[str, Any]], names: str | tuple[str, ...], wanted: Callable[[dict[str, Any]], bool]
) -> str:
    """Return a table of the mean over rules and seeds of accuracy over ceiling and NLL, by setting and labels."""
    names = (names,) if isinstance(names, str) else names
    groups: dict[tuple[Any, ...], dict[int, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for fit in fits:
        if wanted(fit):
            groups[tuple(fit[name] for name in names)][fit["labels"]].append(fit)
    # Only settings that were tried at the same numbers of labels stand in one table.
    counts = sorted(set.intersection(*(set(group) for group in groups.values())))
    lines = [
        [
            *map(str, setting),
            *(
                f"{np.mean([fit['over_ceiling'] for fit in group[count]]):.3f} / "
                f"{np.mean([fit['nll'] for fit in group[count]]):.3f}"
                for count in counts
            ),
        ]
        for setting, group in sorted(groups.items(), key=str)
    ]
    return _table([*names, *(f"{count} labels" for count in counts)], lines)


def _is_normal(fit: dict[str, Any]) -> bool:
    return all(fit[name] == value for name, value in NORMAL.items())


def _mean(fits: list[dict[str, Any]], **chosen: Any) -> float:
    found = [fit["over_ceiling"] for fit in fits if all(fit[name] == value for name, value in chosen.items())]
    return float(np.mean(found))


def _over_ceiling(clean: float) -> float:
    return (clean * (1 - FLIPS) + (1 - clean) * FLIPS) / (1 - FLIPS)


def _lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def _table(head: list[str], lines: list[list[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"
