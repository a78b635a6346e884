"""Responses that the processes of a run draw together: each draws its share, and all of them have every one."""

from collections.abc import Callable, Sequence

from workers.language.decode import Sampled, generate
from workers.language.errors import Stopped
from workers.language.model import LanguageModel
from workers.language.sampling import Settings
from workers.world import ALONE, World


def draw(
    lm: LanguageModel,
    adapter: str | None,
    prompts: Sequence[list[int]],
    tokens: int,
    seed: int,
    world: World = ALONE,
    should_stop: Callable[[], bool] = lambda: False,
    keep: Sequence[int] = (),
) -> list[Sampled]:
    """Draw one answer of at most `tokens` tokens per prompt from the whole distribution at temperature 1.

    Answer i has seed + i, whoever draws it, and the states after the blocks `keep`. Raises Stopped in every process
    once one was told to stop.
    """
    settings = Settings(temperature=1.0, top_p=1.0, max_tokens=tokens)
    mine = world.share(range(len(prompts)))
    own: list[list[Sampled]] = []
    try:
        asked = [prompts[index] for index in mine]
        begin = seed + (mine[0] if mine else 0)
        own = generate(lm, asked, 1, settings, begin, adapter, should_stop, keep=keep)
        stopped = False
    except Stopped:
        stopped = True
    # Nobody leaves while others wait for its answers.
    if world.any(stopped):
        raise Stopped
    return world.gather([one for (one,) in own])
