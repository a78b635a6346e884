"""Reward models on a running engine's base model: fetched and checked when first asked for, the last few kept."""

from collections import OrderedDict
from collections.abc import Sequence

from workers.artifacts import ArtifactDamaged
from workers.language import adapters
from workers.language.adapters import AdapterUnfit
from workers.language.checkpoints import Checkpoint, CheckpointRefused, check_store
from workers.language.errors import ContextExceeded
from workers.language.model import LanguageModel
from workers.language.tokens import encode_prompt, encode_response
from workers.reward.model import RewardModel, load_reward, score_all

KEPT = 2


class Scorer:
    """The reward models of `lm` by SHA-256, from below the store `root` alone. Not for two threads at once."""

    def __init__(self, lm: LanguageModel, root: str) -> None:
        self._lm = lm
        self._root = root
        self._models: OrderedDict[str, RewardModel] = OrderedDict()

    def scores(
        self, checkpoint: Checkpoint, messages: Sequence[dict[str, str]], responses: Sequence[str]
    ) -> list[float]:
        """Return each response's score: 0 is the base model's average answer, 1 the spread of its answers.

        Raises CheckpointRefused, ContextExceeded, ConversationRefused.
        """
        model = self._model(checkpoint)
        prompt = encode_prompt(self._lm, messages)
        rows = [(prompt, encode_response(self._lm, response)) for response in responses]
        longest = max(len(prompt) + len(response) for _, response in rows)
        if longest > self._lm.context:
            raise ContextExceeded(longest, self._lm.context)
        found: list[float] = model.normalised(score_all(model, rows)).tolist()
        return found

    def _model(self, checkpoint: Checkpoint) -> RewardModel:
        sha256 = checkpoint.sha256
        if sha256 not in self._models:
            check_store(checkpoint, self._root)
            try:
                self._models[sha256] = load_reward(self._lm, checkpoint.url, sha256, f"reward {sha256}")
            except (ArtifactDamaged, AdapterUnfit, ValueError) as error:
                raise CheckpointRefused(f"Checkpoint {checkpoint.id} cannot be used: {error}") from error
        self._models.move_to_end(sha256)
        while len(self._models) > KEPT:
            oldest, _ = self._models.popitem(last=False)
            adapters.detach(self._lm, f"reward {oldest}")
        return self._models[sha256]
