"""Try a freshly read model out: what is computed here from its parts must be what the whole model says.

Training and sampling run the trunk, the blocks and the output layer one by one, with a cache of their own. A model that
does anything beside these would give wrong probabilities without a word; it is refused with one instead.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from workers.language.adapters import blocks
from workers.language.decode import generate
from workers.language.errors import ModelUnusable
from workers.language.layers import states_above, states_at
from workers.language.logprobs import Row, response_logprobs
from workers.language.model import LanguageModel
from workers.language.sampling import Settings

EXACT, ROUNDED = 1e-3, 0.1
"""How far two ways to the same numbers may lie apart on average, in standard deviations of the logits: in float32, and
in bf16, where rounding puts SmolLM2's sampled log-probabilities 0.04 nats from the trained ones."""
PROMPTS = [[1, 2, 3, 4, 5, 6], [1, 2, 9], [7, 8, 9, 10]]


def check(lm: LanguageModel) -> None:
    """Raise ModelUnusable with a sentence that says what to do unless the model can be sampled and trained."""
    # Tokens that somebody added, such as a pad token, may lie beyond what the model knows: no text is spelt with them.
    known, rows = int(lm.tokenizer.vocab_size), lm.model.get_input_embeddings().num_embeddings
    if known > rows:
        raise ModelUnusable(
            f"The tokenizer of {lm.name} knows {known} tokens and the model only {rows}. Put the tokenizer that it was "
            "trained with beside it."
        )
    try:
        with torch.inference_mode():
            _compare(lm)
    except ModelUnusable:
        raise
    except Exception as error:
        # What a foreign architecture does not have shows itself as any kind of exception.
        first_line = (str(error).strip() or "no reason given").splitlines()[0]
        raise ModelUnusable(
            f"The model {lm.name} is built in a way that cannot be used here ({type(error).__name__}: {first_line}). "
            "Choose a decoder-only transformer of text, such as a Llama, Qwen, Mistral, Gemma or GPT-2."
        ) from error


def _compare(lm: LanguageModel) -> None:
    ids = torch.tensor(PROMPTS[:1], device=lm.device)
    whole = lm.model(ids).logits[0].float()
    for one, other, does in _ways(lm, ids, whole):
        gap = float((one.float() - other.float()).abs().mean() / whole.std())
        if not gap <= (EXACT if lm.dtype == torch.float32 else ROUNDED):
            raise ModelUnusable(f"The model {lm.name} {does}. Choose a model without that.")


def _ways(lm: LanguageModel, ids: Tensor, whole: Tensor) -> Iterator[tuple[Tensor, Tensor, str]]:
    """Yield pairs of tensors that must be equal, and what the model does if they are not.

    `whole` [S, V] are the model's own logits of `ids` [1, S].
    """
    yield lm.head(lm.trunk(ids, use_cache=False)[0])[0], whole, "changes its logits after the output layer"
    yield lm.head(lm.trunk(ids[:, :-2], use_cache=False)[0])[0], whole[:-2], "looks at the words that follow"
    if len(blocks(lm)) > 1:
        row: list[Row] = [(PROMPTS[0], [])]
        above = states_above(lm, row, states_at(lm, row, [1])[1], 1)
        yield lm.head(above)[0], whole, "does more in its blocks than pass states on"
    # Prompts of several lengths, two of which begin alike, each answered twice: all that the cache has to hold.
    drawn = [one for two in generate(lm, PROMPTS, 2, Settings(max_tokens=4), seed=0) for one in two]
    sampled = pad_sequence([torch.tensor(one.logprobs, device=lm.device) for one in drawn], batch_first=True)
    found, _ = response_logprobs(lm, [(one.prompt_ids, one.token_ids) for one in drawn])
    yield sampled, found, "reads a word otherwise when it is sampled than when it is trained on"
