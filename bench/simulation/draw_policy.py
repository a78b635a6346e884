"""The pictures and the table of the policies, from policy.jsonl."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot
from matplotlib.lines import Line2D

from bench.simulation import base, golds

Line = dict[str, Any]
NAMES = {"ppo": "PPO", "dpo": "DPO", "best_of": "best of n"}


def frontier(found: list[Line], file: Path) -> None:
    """Draw win rate against KL by rule: every look of PPO and DPO, best of n up to 64, and what was kept."""
    rules = [gold for gold in golds.GOLDS if any(one["gold"] == gold for one in found)]
    figure, panels = _panels(len(rules))
    for panel, gold in zip(panels, rules, strict=False):
        for one in (one for one in found if one["gold"] == gold):
            for colour, kind in (("C0", "ppo"), ("C1", "dpo")):
                if kind not in one:
                    continue
                looks = one[kind]["looks"]
                panel.plot(
                    [0, *(look["kl_heldout"] for look in looks)],
                    [0.5, *(look["win"] for look in looks)],
                    colour,
                    linewidth=0.8,
                    alpha=0.6,
                )
                kept = one[kind]
                ends = [[kept["win"] - kept["win_low"]], [kept["win_high"] - kept["win"]]]
                panel.errorbar(kept["kl"], kept["win"], ends, color=colour, marker="o", markersize=4)
            best = one.get("best_of", [])
            panel.plot([some["kl"] for some in best], [some["win"] for some in best], "C2", marker=".", linewidth=0.8)
        panel.axvline(6, linestyle=":", color="grey")
        panel.set(title=gold, xlim=(-0.2, 10), ylim=(0.4, 1.0))
    handles = [Line2D([], [], color=f"C{number}", label=name) for number, name in enumerate(NAMES.values())]
    figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False)
    figure.supxlabel("KL to the base model, nats per answer", fontsize="medium")
    figure.supylabel("wins against the base model by the rule", fontsize="medium")
    figure.savefig(file, metadata={"Date": None, "Creator": None})


def overoptimisation(home: Path, found: list[Line], file: Path) -> None:
    """Draw the reward model's and the rule's gain against the root of KL: with the defaults, and without a price."""
    some = [one for one in found if "free" in one]
    pairs = base.read_pairs(home)
    figure, panels = _panels(len(some))
    for panel, one in zip(panels, some, strict=False):
        texts = [pair[f"response_{side}"] for pair in pairs[:500] for side in "ab"]
        unit = float(golds.scores(one["gold"], texts).std())
        for style, kind in (("-", "ppo"), ("--", "free")):
            looks = one[kind]["looks"]
            root = [0, *(max(look["kl_heldout"], 0) ** 0.5 for look in looks)]
            proxy = [look["reward_heldout"] for look in looks]
            panel.plot(root[1:], proxy, f"C3{style}", linewidth=1)
            panel.plot(root, [0, *((look["gold"] - look["gold_before"]) / unit for look in looks)], f"C0{style}")
        panel.axhline(0, linestyle=":", color="grey")
        panel.set(title=f"{one['gold']}, seed {one['seed']}")
    names = ("reward model, defaults", "rule, defaults", "reward model, no price on KL", "rule, no price on KL")
    colours, dashed = ("C3", "C0", "C3", "C0"), (False, False, True, True)
    handles = [
        Line2D([], [], color=colour, linestyle="--" if gaps else "-", label=name)
        for name, colour, gaps in zip(names, colours, dashed, strict=True)
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=2, frameon=False)
    figure.supxlabel("root of the KL to the base model, nats per answer", fontsize="medium")
    figure.supylabel("standard deviations of the base model's answers", fontsize="medium")
    figure.savefig(file, metadata={"Date": None, "Creator": None})


def table(found: list[Line]) -> list[list[str]]:
    """Return one row per rule, seed and way to a policy, for a table in Markdown, its head first."""
    rows = [["rule", "seed", "way", "wins", "KL", "rule's mean", "words", "ended", "trigrams", "seconds"]]
    for one in sorted(found, key=lambda one: (list(golds.GOLDS).index(one["gold"]), one["seed"])):
        rows.append([one["gold"], str(one["seed"]), "base model", "", "", *_shape(one["base"]), ""])
        for kind in ("ppo", "dpo"):
            if kind not in one:
                continue
            kept = one[kind]
            seconds = f"{kept['seconds']} + {one['reward']['seconds']}" if kind == "ppo" else f"{kept['seconds']}"
            rows.append(["", "", NAMES[kind], _wins(kept), f"{kept['kl']:.1f}", *_shape(kept), seconds])
        for some in one.get("best_of", []):
            if some["n"] in (16, 64):
                way = f"best of {some['n']}"
                rows.append(["", "", way, _wins(some), f"{some['kl']:.1f}", f"{some['gold']:.2f}", "", "", "", ""])
    return rows


def _wins(one: Line) -> str:
    return f"{one['win']:.3f} [{one['win_low']:.3f}, {one['win_high']:.3f}]"


def _shape(one: Line) -> list[str]:
    return [f"{one['gold']:.2f}", f"{one['words']:.0f}", f"{one['ended']:.0%}", f"{one['distinct']:.0%}"]


def _panels(count: int) -> tuple[Any, list[Any]]:
    columns = min(3, max(1, count))
    lines = -(-max(1, count) // columns)
    figure, panels = pyplot.subplots(
        lines, columns, figsize=(3 * columns + 0.6, 2.5 * lines + 0.8), layout="constrained", squeeze=False
    )
    return figure, list(np.ravel(panels))
