"""What was recorded in English is read in the reader's language, with the figures that were recorded."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from app import languages
from app.recorded import WORKERS, recorded

ROOT = Path(__file__).parent.parent
RECORD = (
    *("workers/blind.py", "workers/pairs.py", "workers/packages.py", "workers/jobs.py", "workers/launch.py"),
    *("workers/drift.py", "workers/evaluate.py", "workers/specs.py", "workers/prompts.py", "workers/reward/data.py"),
    *("workers/reward/report.py", "workers/reward/train.py", "workers/dpo/choices.py", "workers/dpo/train.py"),
    *("workers/ppo/train.py", "app/runs/progress.py", "app/runs/steps.py", "app/checkpoints/gates.py"),
)
"""Files whose sentences are recorded."""
NOT_FOR_PEOPLE = re.compile(r"%s|^Line 7|^A prompt was left out|^The run went back to 7 7")


@pytest.fixture
def korean() -> Iterator[None]:
    token = languages._answer.set(languages._Answer("ko"))
    yield
    languages._answer.reset(token)


def sentences(path: Path) -> Iterator[str]:
    """Every sentence in the code that is no docstring, its holes filled with 7."""
    tree = ast.parse(path.read_text())
    apart = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            apart |= {id(part) for part in ast.walk(node) if part is not node}
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "7" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        else:
            continue
        text = text.removeprefix("7 ")  # a sentence of its own, which stands elsewhere
        if id(node) not in apart and " " in text and re.match(r"[A-Z7].*\.$", text):
            yield re.sub(r"\{\w+\}", "7", text)


def english_words(text: str) -> list[str]:
    return [word for word in re.findall(r"[A-Za-z_]{3,}", text) if word not in ("PPO", "kl_target", "beta", "Pairloop")]


@pytest.mark.parametrize(
    "text",
    [
        "The reward model tells people's choices apart: 89% [77%, 95%] over 45 answers; length alone reaches 89%. "
        "People are asked again about surprising answers: 5.",
        "The policy earns +1.44 [+1.08, +1.81] standard deviations of reward on held-out prompts, 3.6 nats from the "
        "base model. The held-out reward has not risen at 3 looks in a row. The run went back to update 8.",
        "The candidate wins 84% [75%, 90%] of 24 prompts against the base model (53% at equal length), 2.6 nats from "
        "the base model.",
        "The candidate wins 84% [75%, 90%] of 24 prompts against the policy in use (53% at equal length), but repeats "
        "31% of its trigrams (base model: 12%). Read its answers before you promote it.",
        "The candidate wins 84% [75%, 90%] of 24 prompts against the base model (53% at equal length), but is 7.1 "
        "[6.5, 7.7] nats from the base model; the budget is 6. Train with a smaller KL budget, or promote it.",
        "The policy agrees with 71% [60%, 80%] of 80 unseen choices, 5.4 nats from the base model.",
        "Update 5 of 8. Reward +0.18, KL 0.7 nats.",
        "Step 5 of 80. KL 0.7 nats, loss 0.312.",
    ],
)
def test_a_sentence_with_its_figures_is_read_whole(text: str, korean: None) -> None:
    said = recorded(text)
    assert not english_words(said)
    assert sorted(re.findall(r"[\d.]*\d", said)) == sorted(re.findall(r"[\d.]*\d", text))
    assert not re.search(r"\[[^\]]*\[|\([^)]*\(", said), "figures stay together"


@pytest.mark.parametrize("name", RECORD)
def test_every_sentence_that_is_recorded_is_read_in_korean(name: str, korean: None) -> None:
    for text in sentences(ROOT / name):
        if not NOT_FOR_PEOPLE.search(text):
            assert not english_words(recorded(text)), text


def test_figures_stay_as_they_were_recorded(korean: None) -> None:
    said = recorded("Label about 40 more, or force the run.")
    assert "40" in said
    assert said != "Label about 40 more, or force the run."


def test_sentences_within_sentences_are_read_too(korean: None) -> None:
    gate = "The reward model's interval still includes chance: 55% [47%, 63%] over 150 answers."
    advice = "Label about 40 more, or force the run."
    stopped = (
        f"The chain stopped after the step “reward model”: {gate} {advice} "
        "To go past the gate all the same, start the chain again with “go on past the gates”."
    )
    said = recorded(stopped)
    assert not english_words(said)
    assert set(re.findall(r"\d+", said)) == {"55", "47", "63", "150", "40"}
    assert recorded(gate) in said


def test_what_follows_no_pattern_stays(korean: None) -> None:
    said = recorded("CUDA error 719 at kernel 3. Label about 40 more, or force the run.")
    assert said.startswith("CUDA error 719 at kernel 3. ")
    assert said.endswith(recorded("Label about 40 more, or force the run."))


def test_in_english_nothing_is_changed() -> None:
    assert recorded("Label about 40 more, or force the run.") == "Label about 40 more, or force the run."
    assert recorded(None) == ""


def test_no_pattern_is_kept_whose_sentence_nobody_records() -> None:
    """A pattern whose sentence was reworded would silently say English again."""
    code = " ".join(path.read_text() for room in ("workers", "app") for path in (ROOT / room).rglob("*.py"))
    code = re.sub(r"""["']\s*\n\s*f?["']""", "", code.replace((ROOT / "app/recorded.py").read_text(), ""))
    for message in WORKERS:
        for words in re.split(r"\{\w+\}| at | to update | to step ", message):
            assert words.strip(" .,:()[]“”%") in code, message
