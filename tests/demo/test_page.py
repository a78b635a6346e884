"""The demo's page: complete, self-contained, and safe whatever a model wrote."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from app.simulation.gold import RULES
from demo import page
from demo.measure import Sampled, describe, win_rate

PAYLOAD = "</td><script>alert(1)</script>"


@pytest.fixture
def findings() -> dict[str, Any]:
    from dataclasses import asdict

    warm = RULES["warm"]
    before = {"p": [Sampled("nothing", True)], "q": [Sampled(PAYLOAD, False)]}
    after = {"p": [Sampled("happy friend", True)], "q": [Sampled("kind", True)]}
    ppo = [{"phase": "updates", "step": n, "metrics": {"reward": n / 10, "kl": float(n)}} for n in (1, 2, 3)]
    return {
        "labels": {"answers": 40, "preferred": 30, "ties": 10, "slips": 3, "ceiling": 0.9, "ceiling_here": 0.9},
        "before": asdict(describe(before, warm)),
        "after": asdict(describe(after, warm)),
        "win": win_rate(after, before, warm).to_json(),
        "kl": 3.25,
        "reward_model": {
            "accuracy": 0.8, "low": 0.7, "high": 0.9, "n": 30, "length_baseline": 0.6,
            "test_accuracy": 0.85, "test_low": 0.6, "test_high": 0.95, "test_n": 20,
        },
        "runs": {"ppo": {"metrics": ppo, "hyper": {"kl_budget": 6.0}, "result": {"best_update": 2}, "seconds": 61.0}},
        "rounds": [{"answers": 40, "outcome": PAYLOAD, "gold": -1.5, "win": win_rate(after, before, warm).to_json()}],
        "sentences": ["The gates let it pass."],
        "samples": [{"prompt": PAYLOAD, "before": PAYLOAD, "after": "happy friend"}],
        "seconds": {"labels": 3.0, "chain": 90.0},
        "made": "today", "version": "0.1.0", "machine": "2 processors", "command": "python -m demo",
        "base_model": "tiny", "rule": {"name": "warm", "sentence": warm.sentence},
        "flips": 0.1, "seed": 1, "answers_per_prompt": 1,
    }  # fmt: skip


class Seen(HTMLParser):
    """Collects the tags of a page and checks that they close."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_shows_the_figures_and_runs_nothing(findings: dict[str, Any]) -> None:
    html = page.html(findings)
    seen = Seen()
    seen.feed(html)
    assert "script" not in seen.tags
    assert PAYLOAD in seen.text, "the model's text is shown as text"
    for figure in ("100.0 %", "3.25 nats", "the noise allows 90.0 %", "budget 6", "kept: update 2", "1 min 30 s"):
        assert figure in seen.text
    assert not re.search(r'(src|href)="', html), "a self-contained page loads nothing"
    assert seen.tags.count("svg") == 2, "reward and KL"


def test_several_rounds_are_told_one_by_one(findings: dict[str, Any]) -> None:
    seen = Seen()
    seen.feed(page.html(findings))
    assert "Round by round" not in seen.text, "one round is told by the page itself"
    seen = Seen()
    seen.feed(page.html(findings | {"rounds": 2 * findings["rounds"]}))
    assert "40 labels, 2 rounds of the loop" in seen.text
    assert "Round by round" in seen.text
    assert "script" not in seen.tags
    assert "| Round 2 | 40 labels; wins 100.0 %" in page.markdown(findings | {"rounds": 2 * findings["rounds"]})


def test_page_json_and_markdown_lie_side_by_side(findings: dict[str, Any], tmp_path: Path) -> None:
    files = page.write(findings, tmp_path)
    assert json.loads(files["json"].read_text())["win"]["rate"] == 1.0
    table = files["markdown"].read_text()
    assert "| 40 (30 decisive, 3 slips) |" in table
    assert "Wilson" in table
    assert files["page"].read_text().startswith("<!doctype html>")
