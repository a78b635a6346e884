"""The demo's findings as one self-contained HTML page, as JSON, and as a Markdown table."""

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from demo.curves import Curve, Line, svg

HERE = Path(__file__).parent
# What a run reports under which name, and how the page calls it.
CURVES = {
    "reward": [
        ("loss", "Loss of the reward model's adapters (nats)"),
        ("nll", "The same on answers not trained on (nats)"),
    ],
    "ppo": [
        ("reward", "Reward of the drawn answers (standard deviations)"),
        ("reward_heldout", "Reward on the project's held-out prompts"),
        ("kl", "KL from the base model (nats per answer)"),
        ("length", "Length of the drawn answers (tokens)"),
        ("eos_rate", "Share of drawn answers that came to their end"),
    ],
}


def write(findings: dict[str, Any], directory: Path) -> dict[str, Path]:
    """Write page, JSON and Markdown into the directory and return where they lie."""
    directory.mkdir(parents=True, exist_ok=True)
    made = {
        "page": (directory / "demo.html", html(findings)),
        "json": (directory / "demo.json", json.dumps(findings, indent=1, ensure_ascii=False)),
        "markdown": (directory / "demo.md", markdown(findings)),
    }
    for path, text in made.values():
        path.write_text(text, encoding="utf-8")
    return {name: path for name, (path, _) in made.items()}


def html(findings: dict[str, Any]) -> str:
    """The page; it holds its style and its pictures itself and loads nothing."""
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(percent=percent, interval=interval, minutes=minutes)
    return environment.get_template("page.html").render(
        **findings, curves=curves(findings["runs"]), rows=rows(findings)
    )


def percent(share: float) -> str:
    """0.873 as 87.3 %."""
    return f"{100 * share:.1f} %"


def interval(low: float, high: float) -> str:
    """0.812, 0.91 as [81.2, 91.0] %."""
    return f"[{100 * low:.1f}, {100 * high:.1f}] %"


def minutes(seconds: float) -> str:
    """90 as 1 min 30 s."""
    whole = round(seconds)
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{seconds:.1f} s"


def curves(runs: dict[str, Any]) -> list[str]:
    """The pictures of every run of the chain that reported something worth a picture."""
    pictures = []
    for kind, wanted in CURVES.items():
        run: dict[str, Any] = runs.get(kind, {"metrics": []})
        for name, title in wanted:
            # The report at the end repeats some names; it is no step of the training.
            steps = [one for one in run["metrics"] if name in one["metrics"] and one["phase"] != "report"]
            points = [(one["step"], one["metrics"][name]) for one in steps]
            if points:
                pictures.append(svg(Curve(title, "update" if kind == "ppo" else "step", points, *_lines(run, name))))
    return pictures


def _lines(run: dict[str, Any], name: str) -> tuple[Line | None, Line | None]:
    budget = run["hyper"].get("kl_budget") if name == "kl" else None
    kept = run["result"].get("best_update")
    return (
        Line(budget, f"budget {budget:g}") if budget else None,
        Line(kept, f"kept: update {kept:g}") if kept else None,
    )


def rows(findings: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The table of figures: name, before, after."""
    before, after = findings["before"], findings["after"]
    return [
        (f"Mean score by the rule “{findings['rule']['name']}”", _signed(before["gold"]), _signed(after["gold"])),
        ("Words per answer", _spread(before), _spread(after)),
        ("Answers that came to their end", percent(before["ended"]), percent(after["ended"])),
        ("Distinct word pairs within an answer", percent(before["distinct_2"]), percent(after["distinct_2"])),
        (
            "Distinct word pairs over all answers",
            percent(before["distinct_2_together"]),
            percent(after["distinct_2_together"]),
        ),
    ]


def _signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _spread(figures: dict[str, float]) -> str:
    return f"{figures['words']:.1f} ± {figures['words_spread']:.1f}"


def markdown(findings: dict[str, Any]) -> str:
    """The same figures for a README or an experiment log."""
    win, reward, labels = findings["win"], findings["reward_model"], findings["labels"]
    facts = [
        ("Labels", f"{labels['answers']} ({labels['preferred']} decisive, {labels['slips']} slips)"),
        (
            "Reward model, accuracy on answers it had not seen",
            f"{percent(reward['accuracy'])} {interval(reward['low'], reward['high'])}, n = {reward['n']}; "
            f"the noise allows {percent(labels['ceiling'])}; length alone reaches {percent(reward['length_baseline'])}",
        ),
        *held_out(reward),
        (
            "Gold win rate against the base model, unseen prompts",
            f"{percent(win['rate'])}, Wilson {interval(win['wilson_low'], win['wilson_high'])}, "
            f"clustered {interval(win['cluster_low'], win['cluster_high'])}, {win['prompts']} prompts",
        ),
        ("KL from the base model", f"{findings['kl']:.2f} nats per answer"),
        *((name, f"{before} → {after}") for name, before, after in rows(findings)),
        *(
            (f"Round {number}", of_round(one))
            for number, one in enumerate(findings["rounds"], 1)
            if len(findings["rounds"]) > 1
        ),
        ("Time", "; ".join(f"{name} {minutes(seconds)}" for name, seconds in findings["seconds"].items())),
    ]
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts)]) + "\n"


def of_round(one: dict[str, Any]) -> str:
    """One round in one line."""
    wins = f"{percent(one['win']['rate'])} {interval(one['win']['wilson_low'], one['win']['wilson_high'])}"
    return f"{one['answers']} labels; wins {wins}, mean score {_signed(one['gold'])}. {one['outcome']}"


def held_out(reward: dict[str, Any]) -> list[tuple[str, str]]:
    """The reward model's accuracy on prompts that the project holds out, where there were answers about any."""
    if not reward["test_n"]:
        return []
    figure = f"{percent(reward['test_accuracy'])} {interval(reward['test_low'], reward['test_high'])}"
    return [("Reward model, accuracy on held-out prompts", f"{figure}, n = {reward['test_n']}")]
