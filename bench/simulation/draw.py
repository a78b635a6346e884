"""The study's pictures and tables, from what its stages left behind."""

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from bench.simulation import draw_policy, golds
from bench.simulation.reward import COUNTS, DEPTH, FLIPS, POOLING

matplotlib.use("svg")
from matplotlib import pyplot
from matplotlib.lines import Line2D

IMAGES = Path(__file__).parents[2] / "docs" / "images"
NORMAL = {"depth": DEPTH, "pooling": POOLING, "flips": FLIPS, "hesitation": 0.0}
HESITANT = NORMAL | {"flips": 0.0, "hesitation": 1.0}


def study(home: Path) -> None:
    """Draw docs/images/simulation-*.svg and print the tables in Markdown."""
    matplotlib.rcParams.update({"svg.hashsalt": "pairloop", "font.size": 9, "svg.fonttype": "none"})
    fits = _lines(home / "reward.jsonl")
    if fits:
        _curves(fits)
        print(_by_labels(fits, NORMAL))
        if any(_is(fit, HESITANT) for fit in fits):
            print(_by_labels(fits, HESITANT))
        print(_by_size(fits))
        print(_by_setting(fits, "flips", lambda fit: fit["hesitation"] == 0 and _is(fit, NORMAL, ("flips",))))
        print(_by_setting(fits, ("depth", "pooling"), lambda fit: _is(fit, NORMAL | {"seed": 1}, ("depth", "pooling"))))
    policies = _lines(home / "policy.jsonl")
    if policies:
        draw_policy.frontier(policies, IMAGES / "simulation-policy.svg")
        if any("free" in one for one in policies):
            draw_policy.overoptimisation(home, policies, IMAGES / "simulation-overoptimisation.svg")
        head, *rows = draw_policy.table(policies)
        print(_table(head, rows))


def _curves(fits: list[dict[str, Any]]) -> None:
    figure, panels = pyplot.subplots(2, 3, figsize=(9, 5.3), sharex=True, sharey=True, layout="constrained")
    drawn: set[str] = set()
    for panel, gold in zip(panels.flat, golds.GOLDS, strict=True):
        for colour, setting in (("C0", NORMAL), ("C1", HESITANT)):
            chosen = [fit for fit in fits if _is(fit, setting | {"gold": gold})]
            by_count = {count: [fit["over_ceiling"] for fit in chosen if fit["labels"] == count] for count in COUNTS}
            values = {count: some for count, some in by_count.items() if some}
            if not values:
                continue
            drawn.add(colour)
            panel.plot(list(values), [np.mean(some) for some in values.values()], colour, marker="o", markersize=3)
            low, high = ([end(some) for some in values.values()] for end in (min, max))
            panel.fill_between(list(values), low, high, color=colour, alpha=0.2)
            baseline = np.mean([fit["length_over_ceiling"] for fit in chosen])
            panel.axhline(baseline, linestyle=":", color=colour)
        panel.set(title=gold, xscale="log", xticks=COUNTS, ylim=(0.5, 1.02))
        panel.set_xticklabels([str(count) for count in COUNTS])
        panel.minorticks_off()
    names = {"C0": "10 % slips", "C1": "hesitating annotators"}
    handles = [Line2D([], [], color=colour, label=name) for colour, name in names.items() if colour in drawn]
    figure.legend(handles=handles, loc="outside upper center", ncols=2, frameon=False)
    figure.supxlabel("labels")
    figure.supylabel("accuracy on unseen prompts over its ceiling")
    figure.savefig(IMAGES / "simulation-reward.svg", metadata={"Date": None, "Creator": None})


def _by_labels(fits: list[dict[str, Any]], setting: dict[str, Any]) -> str:
    columns = {count: setting | {"labels": count} for count in COUNTS}
    rows = {gold: [_mean(fits, one | {"gold": gold}) for one in columns.values()] for gold in golds.GOLDS}
    rows["mean"] = [float(np.mean(column)) for column in zip(*rows.values(), strict=True)]
    head = ["rule", *(f"{count} labels" for count in COUNTS), "length alone", "ceiling"]
    lines = []
    for gold, values in rows.items():
        one = setting if gold == "mean" else setting | {"gold": gold}
        ends = [_mean(fits, one, "length_over_ceiling"), _mean(fits, one, "ceiling")]
        lines.append([gold, *(f"{value:.3f}" for value in [*values, *ends])])
    return _table(head, lines)


def _by_size(fits: list[dict[str, Any]]) -> str:
    """Return a table of how often the rule's own preference is met, by the size of its difference."""
    sizes = {"0.1 to 0.5": "clean_small", "0.5 to 1.2": "clean_middle", "from 1.2": "clean_large"}
    lines = []
    for label, name in sizes.items():
        chosen = [fit for fit in fits if fit[name] is not None]
        lines.append([label, *(f"{_mean(chosen, NORMAL | {'labels': count}, name):.3f}" for count in COUNTS)])
    return _table(["difference", *(f"{count} labels" for count in COUNTS)], lines)


def _by_setting(
    fits: list[dict[str, Any]], names: str | tuple[str, ...], wanted: Callable[[dict[str, Any]], bool]
) -> str:
    """Return a table of mean accuracy over ceiling and loss of the folds by setting and labels."""
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
                f"{np.mean([fit['loss_of_folds'] for fit in group[count]]):.3f}"
                for count in counts
            ),
        ]
        for setting, group in sorted(groups.items(), key=str)
    ]
    return _table([*names, *(f"{count} labels" for count in counts)], lines)


def _is(fit: dict[str, Any], setting: dict[str, Any], but: Sequence[str] = ()) -> bool:
    return all(fit[name] == value for name, value in setting.items() if name not in but)


def _mean(fits: list[dict[str, Any]], setting: dict[str, Any], name: str = "over_ceiling") -> float:
    return float(np.mean([fit[name] for fit in fits if _is(fit, setting)]))


def _lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def _table(head: list[str], lines: list[list[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"
