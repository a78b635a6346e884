"""A run's prompts are read strictly, and held-out ones are kept apart."""

from pathlib import Path

import pytest

from tests.workers import training
from workers import artifacts, prompts
from workers.context import Source
from workers.language.model import LanguageModel
from workers.language.tokens import encode_prompt
from workers.prompts import Prompt, for_judging, for_training


def test_it_reads_what_was_written(tiny: LanguageModel, tmp_path: Path) -> None:
    found = prompts.read_prompts(tiny, Source(**training.prompts(tmp_path, 12)))
    assert [one.holdout for one in found] == [i % 10 == 0 for i in range(12)]
    assert found[3].text == "Say something about number 3"
    assert found[3].ids == encode_prompt(tiny, [{"role": "user", "content": found[3].text}])


def test_a_broken_line_gets_a_sentence(tiny: LanguageModel, tmp_path: Path) -> None:
    url = (tmp_path / "prompts.jsonl").as_uri()
    good = '{"id": "1", "messages": [{"role": "user", "content": "x"}], "holdout": false}\n'
    sha256 = artifacts.write_file(url, (good + '{"id": "2"}\n').encode())
    with pytest.raises(ValueError, match=r"Line 2 of .*prompts.jsonl is no prompt"):
        prompts.read_prompts(tiny, Source(url, sha256))


def test_a_prompt_beyond_the_context_is_left_out_and_said(
    tiny: LanguageModel, capsys: pytest.CaptureFixture[str]
) -> None:
    long, short = [{"role": "user", "content": "x" * 600}], [{"role": "user", "content": "x"}]
    assert len(prompts.encode_all(tiny, [(long, False), (short, True)])) == 1
    assert "A prompt was left out. This conversation is" in capsys.readouterr().err
    with pytest.raises(ValueError, match="no prompt that fits"):
        prompts.encode_all(tiny, [(long, False)])


def test_held_out_prompts_judge_and_the_others_train() -> None:
    training_ones = [Prompt(str(i), [i], False) for i in range(50)]
    held_out = [Prompt(str(i), [i], True) for i in range(20)]
    assert for_training(training_ones + held_out) == training_ones
    assert for_judging(training_ones + held_out) == held_out
    # Nineteen say too little: then all judge. And where all are held out, all train.
    assert for_judging(training_ones + held_out[:19]) == training_ones + held_out[:19]
    assert for_training(held_out) == held_out
