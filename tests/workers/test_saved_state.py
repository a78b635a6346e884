"""A saved state is whole or passed over, and belongs to the run that wrote it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.workers import training
from workers import saved_state
from workers.context import IterationSpec


@pytest.fixture
def spec(tmp_path: Path) -> IterationSpec:
    given = {"url": "file:///p", "sha256": "0"}
    return training.spec(tmp_path, "ppo", prompts=given, parents={"reward": {"id": "1", **given}, "policy": None})


def save(spec: IterationSpec, number: int) -> None:
    saved_state.save(spec, number, {"beta": 0.1 + number}, {"weights": torch.full((2,), number / 3)})


def test_the_newest_comes_back_exactly(spec: IterationSpec) -> None:
    assert saved_state.newest(spec) is None
    for number in (1, 2, 3):
        save(spec, number)
    found = saved_state.newest(spec)
    assert found is not None
    assert (found.number, found.facts) == (3, {"beta": 3.1})
    assert torch.equal(found.tensors["weights"], torch.full((2,), 1.0))


@pytest.mark.parametrize("name", ["state.json", "tensors.safetensors", "manifest.json"])
def test_a_damaged_state_gives_way_to_the_one_before(spec: IterationSpec, tmp_path: Path, name: str) -> None:
    save(spec, 4)
    save(spec, 5)
    file = tmp_path / "work" / "state-1" / name
    file.write_bytes(file.read_bytes()[:-1])
    found = saved_state.newest(spec)
    assert found is not None
    assert found.number == 4


def test_a_state_of_another_spec_is_not_taken_up(spec: IterationSpec) -> None:
    save(spec, 1)
    assert saved_state.newest(replace(spec, seed=2)) is None
    assert saved_state.newest(spec) is not None


def test_nothing_is_left_of_a_finished_run(spec: IterationSpec, tmp_path: Path) -> None:
    save(spec, 1)
    save(spec, 2)
    saved_state.clear(spec)
    assert saved_state.newest(spec) is None
    assert list((tmp_path / "work").iterdir()) == []


def test_an_optimiser_goes_on_as_if_it_had_never_stopped() -> None:
    def steps(optimiser: torch.optim.Optimizer, weights: torch.nn.Parameter, count: int) -> None:
        for _ in range(count):
            weights.grad = weights.detach() ** 2 + 0.3
            optimiser.step()

    unbroken = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    steps(torch.optim.AdamW([unbroken], lr=0.1), unbroken, 5)
    first = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    optimiser = torch.optim.AdamW([first], lr=0.1)
    steps(optimiser, first, 2)
    kept = saved_state.optimiser_tensors(optimiser)
    second = torch.nn.Parameter(first.detach().clone())
    optimiser = torch.optim.AdamW([second], lr=0.1)
    saved_state.restore_optimiser(optimiser, kept)
    steps(optimiser, second, 3)
    assert torch.equal(second, unbroken)
