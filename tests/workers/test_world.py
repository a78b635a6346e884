"""Several processes train a run to the same result as one, and none waits for another that is gone or was stopped."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file

from tests.workers import training
from tests.workers.child import SERVER, Child, reached
from workers.context import IterationSpec, RecordingContext
from workers.iteration import STOPPED, run_iteration
from workers.saved_state import newest
from workers.world import PeerLost, World, joined

ROOT = Path(__file__).parents[2]
HYPER: dict[str, dict[str, Any]] = {
    # Four micro-batches a step; every block adapted; states kept below the adapters; one micro-batch a process.
    "reward": {"batch_answers": 16, "pooling": "all"},  # with the words the head leaves adapters nothing to learn
    "ppo": {"updates": 3, "answers_per_prompt": 4},
    "rloo": {"updates": 3, "advantage": "rloo", "train_layers": 1, "epochs": 2},
    "dpo": {"batch_answers": 16, "epochs": 2},
}
SIZE = {"reward": 2, "ppo": 2, "rloo": 3, "dpo": 2}
"""Among three, 32 answers and 48 held-out ones, minibatches of eight and four looks are shared unevenly."""


def test_work_is_shared_without_remainder() -> None:
    worlds = [World(rank, 3) for rank in range(3)]
    assert [list(world.share(range(7))) for world in worlds] == [[0, 1], [2, 3], [4, 5, 6]]
    assert [list(world.share(range(2))) for world in worlds] == [[], [0], [1]]
    assert [list(world.deal(range(7))) for world in worlds] == [[0, 3, 6], [1, 4], [2, 5]]
    assert [list(turn) for turn in World(0, 3).turns(range(7))] == [[0, 1, 2], [3, 4, 5], [6]]


def test_a_process_alone_never_loads_torch_to_share_with_nobody() -> None:
    code = (
        "import sys; from workers.world import ALONE, joined\n"
        "with joined(ALONE):\n"
        "    assert ALONE.share([1, 2]) == ALONE.deal([1, 2]) == ALONE.gather([1, 2]) == [1, 2]\n"
        "    assert ALONE.any(True) and not ALONE.any(False) and ALONE.first(lambda: 3) == 3\n"
        "    assert ALONE.add([None]) is ALONE.add_gradients([None]) is None\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def together(home: Path, size: int, what: Any) -> list[Any]:
    """Call `what(world)` in so many processes and return what each gave, None for one that ended before."""
    meeting = (home / f"meeting-{what.__name__}").as_uri()
    pipes, processes = [], []
    for rank in range(size):
        ours, theirs = SERVER.Pipe(duplex=False)
        processes.append(SERVER.Process(target=_call, args=(World(rank, size), meeting, what, theirs)))
        processes[-1].start()
        theirs.close()
        pipes.append(ours)
    found = []
    for pipe in pipes:
        with pipe:
            try:
                found.append(pipe.recv())
            except EOFError:
                found.append(None)
    for process in processes:
        process.join()
    return found


def _call(world: World, meeting: str, what: Any, pipe: Any) -> None:
    os.environ["PAIRLOOP_MEETING"] = meeting
    torch.set_num_threads(1)
    with joined(world):
        pipe.send(what(world))


def talk(world: World) -> dict[str, Any]:
    """Use every operation once, with numbers that tell the processes apart: rank 0, 1, 2."""
    sums = [torch.full((2, 2), float(world.rank)), torch.tensor([10.0**world.rank])]
    rounded = torch.ones(3).bfloat16()
    world.add(sums)
    world.add([rounded])
    learned, idle = torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(1))
    if world.rank != 1:
        learned.grad = torch.tensor([1.0, world.rank])
    world.add_gradients([learned, idle])
    assert learned.grad is not None
    assert idle.grad is not None
    made: list[int] = []
    return {
        "gathered": world.gather([world.rank] * world.rank),
        "any": (world.any(world.rank == 2), world.any(False)),
        "first": (world.first(lambda: made.append(world.rank) or world.rank + 5), made),
        "sums": [one.tolist() for one in sums],
        "rounded": (rounded.tolist(), str(rounded.dtype)),
        "gradients": (learned.grad.tolist(), idle.grad.tolist()),
    }


def test_what_the_operations_do_by_hand(tmp_path: Path) -> None:
    expected: dict[str, Any] = {
        "gathered": [1, 2, 2],
        "any": (True, False),
        "sums": [[[3.0, 3.0], [3.0, 3.0]], [111.0]],
        "rounded": ([3.0, 3.0, 3.0], "torch.bfloat16"),
        # One process learned nothing, nobody learned the second parameter.
        "gradients": ([2.0, 2.0], [0.0]),
    }
    found = together(tmp_path, 3, talk)
    for rank, one in enumerate(found):
        assert one == expected | {"first": (5, [0] if rank == 0 else [])}


def leave_early(world: World) -> str:
    # Who leaves while others still connect is not noticed by them for long; workers/peers.py looks after that.
    world.gather([0])
    if world.rank == 1:
        os._exit(0)
    try:
        world.gather([1])
    except PeerLost as lost:
        return str(lost)
    return "nothing was noticed"


def test_who_waits_for_a_process_that_is_gone_is_told_so(tmp_path: Path) -> None:
    first, second, third = together(tmp_path, 3, leave_early)
    assert second is None
    for said in (first, third):
        assert said.startswith("Another process of this run ended before its work was done")
        assert said.endswith("Train with fewer processes, or on a machine with more memory.")


def group(spec: IterationSpec, home: Path, size: int) -> list[Child]:
    """Start so many processes on the spec; they meet in a file of their own."""
    meeting = home / "meeting"
    meeting.unlink(missing_ok=True)
    where = {"WORLD_SIZE": str(size), "PAIRLOOP_MEETING": meeting.as_uri()}
    return [Child(spec, home, RANK=str(rank), **where) for rank in range(size)]


class Both(NamedTuple):
    """The same spec's outcome alone and together."""

    alone: dict[str, Any]
    reported: RecordingContext
    together: list[Child]
    home: Path

    def weights(self, where: str) -> dict[str, torch.Tensor]:
        files = sorted((self.home / where / "checkpoint").glob("*.safetensors"))
        return {f"{file.name}.{name}": one for file in files for name, one in load_file(file).items()}


@pytest.fixture(scope="module", params=list(HYPER))
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, likes_vowels: dict[str, Any]
) -> Both:
    home, reported = tmp_path_factory.mktemp(request.param), RecordingContext()
    given = {**likes_vowels, "hyper": HYPER[request.param]}
    kind = "ppo" if request.param == "rloo" else request.param
    children = group(training.spec(home / "together", kind, **given), home, SIZE[request.param])
    alone = run_iteration(training.spec(home / "alone", kind, **given), reported)
    assert [child.end() for child in children] == [0] * len(children)
    return Both(alone, reported, children, home)


def test_several_processes_come_to_the_weights_of_one(both: Both) -> None:
    alone, shared = both.weights("alone"), both.weights("together")
    assert set(alone) == set(shared)
    assert any(name.startswith("adapter_model") for name in alone)
    for name, one in alone.items():
        # Seen: 2e-6 at most, of weights up to 0.15.
        torch.testing.assert_close(shared[name], one, atol=1e-5, rtol=1e-5)


def test_several_processes_report_what_one_does_and_the_first_speaks_for_all(both: Both) -> None:
    first, *others = both.together
    assert not any(child.lines for child in others)
    reports = {(line["phase"], line["step"]): line["metrics"] for line in first.lines if line["type"] == "metrics"}
    for phase, step, _, metrics in both.reported.reports:
        if phase == "read":
            continue  # several batches at a time
        found = reports[(phase, step)]
        # Figures of the whole group; what a process weighs and how fast all are is their own.
        expected = {name: value for name, value in metrics.items() if name not in ("rss_mb", "tokens_per_s")}
        assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-3, abs=1e-4)
    result = first.lines[-1]["result"]
    assert result["metrics"] == pytest.approx(both.alone["metrics"], rel=1e-3, abs=1e-4)
    assert result["gate"] == both.alone["gate"]
    samples = [line["items"] for line in first.lines if line["type"] == "samples"]
    assert (samples or [[]])[-1] == both.reported.shown


def test_a_group_that_was_killed_and_stopped_ends_with_the_same_checkpoint(
    likes_vowels: dict[str, Any], tmp_path: Path
) -> None:
    given = {**likes_vowels, "hyper": {"updates": 5}}
    unbroken, *_ = children = group(training.spec(tmp_path / "unbroken", "ppo", **given), tmp_path, 2)
    assert [child.end() for child in children] == [0, 0]
    spec = training.spec(tmp_path / "broken", "ppo", **given)
    # The second is killed: the first ends with a sentence instead of waiting.
    first, second = group(spec, tmp_path, 2)
    assert first.end(signal.SIGKILL, reached("ppo", 1), second) == 1
    assert first.lines[-1] == {"type": "error", "message": str(PeerLost())}
    assert second.end() == -signal.SIGKILL
    # Only the second is asked to stop: both save at the same update and stop.
    first, second = group(spec, tmp_path, 2)
    assert first.end(signal.SIGTERM, reached("ppo", 3), second) == STOPPED
    assert second.end() == STOPPED
    stopped_at = first.steps("ppo")[-1]
    # The first is killed: the second does not wait either.
    first, second = group(spec, tmp_path, 2)
    assert first.end(signal.SIGKILL, reached("ppo", 4)) == -signal.SIGKILL
    assert second.end() == 1
    assert first.steps("ppo")[0] == stopped_at + 1
    first, second = group(spec, tmp_path, 2)
    assert [first.end(), second.end()] == [0, 0]
    assert first.checkpoint()["sha256"] == unbroken.checkpoint()["sha256"]
    assert first.lines[-1]["result"]["metrics"] == unbroken.lines[-1]["result"]["metrics"]


@pytest.mark.parametrize(("kind", "phase"), [("reward", "adapters"), ("dpo", "dpo")])
def test_a_stop_that_reaches_one_process_stops_all_at_the_same_step(
    likes_vowels: dict[str, Any], tmp_path: Path, kind: str, phase: str
) -> None:
    spec = training.spec(tmp_path, kind, **likes_vowels, hyper={"batch_answers": 8})
    first, second = group(spec, tmp_path, 2)
    assert first.end(signal.SIGTERM, reached(phase, 2), second) == STOPPED
    assert second.end() == STOPPED
    state = newest(spec)
    assert state is not None
    assert state.facts.get("progress", state.facts)["step"] == first.steps(phase)[-1]
