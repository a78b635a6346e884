"""Conversations to token ids and back: the chat template, special tokens nobody may type, text as it streams."""

from collections.abc import Sequence
from typing import Any

from workers.language.errors import ContextExceeded, ConversationRefused
from workers.language.model import LanguageModel

ZERO_WIDTH_SPACE = "\u200b"


def encode_prompt(lm: LanguageModel, messages: Sequence[dict[str, str]]) -> list[int]:
    """Return the ids of a conversation up to where the assistant's next turn begins.

    Raises ContextExceeded if the model would have no room for a single token of answer, ConversationRefused if its
    chat template does not accept these roles.
    """
    harmless = [{"role": turn["role"], "content": _disarm(lm, turn["content"])} for turn in messages]
    try:
        text = lm.tokenizer.apply_chat_template(harmless, add_generation_prompt=True, tokenize=False)
    except Exception as error:
        # A template is a program that came with the model; what it raises is up to its author.
        raise ConversationRefused(f"The model's chat template refuses this conversation: {error}") from error
    ids: list[int] = lm.tokenizer(text, add_special_tokens=False)["input_ids"]
    if len(ids) > lm.context - 1:
        raise ContextExceeded(len(ids), lm.context)
    return ids


def encode_response(lm: LanguageModel, text: str) -> list[int]:
    """Return the ids of a response that nobody sampled here, closed by the end-of-turn token."""
    ids: list[int] = lm.tokenizer(_disarm(lm, text), add_special_tokens=False)["input_ids"]
    return [*ids, lm.end]


def decode(lm: LanguageModel, ids: Sequence[int]) -> str:
    """Return the text of response ids, without special tokens."""
    text: str = lm.tokenizer.decode(list(ids), skip_special_tokens=True)
    return text


class TextStream:
    """Text of one response while its tokens arrive, cut before the first stop string.

    A character may be spread over several tokens, and a stop string over several pieces: neither is shown by half.
    """

    def __init__(self, lm: LanguageModel, stop: Sequence[str] = ()) -> None:
        self._lm = lm
        self._stop = [text for text in stop if text]
        self._ids: list[int] = []
        self._start = 0  # ids before this are text that no later token can change
        self._seen = 0  # ids before this are in `text`
        self._shown = 0  # characters already handed out
        self.text = ""
        self.stopped = False

    def add(self, token: int) -> str:
        """Take one more token and return the text that can be shown since the last call."""
        self._ids.append(token)
        return self._take(complete=False)

    def finish(self) -> str:
        """Return what was held back, after the last token."""
        return self._take(complete=True)

    def _take(self, complete: bool) -> str:
        if self.stopped:
            return ""
        known = decode(self._lm, self._ids[self._start : self._seen])
        now = decode(self._lm, self._ids[self._start :])
        if complete or not now.endswith("\ufffd"):
            self.text += now[len(known) :]
            self._start, self._seen = self._seen, len(self._ids)
        self._cut_at_stop()
        end = len(self.text) - (0 if complete or self.stopped else self._held_back())
        piece, self._shown = self.text[self._shown : end], max(self._shown, end)
        return piece

    def _cut_at_stop(self) -> None:
        places = [place for text in self._stop if (place := self.text.find(text)) >= 0]
        if places:
            self.text = self.text[: min(places)]
            self.stopped = True

    def _held_back(self) -> int:
        """How many characters at the end may be the beginning of a stop string."""
        longest = 0
        for stop in self._stop:
            for length in range(1, len(stop)):
                if self.text.endswith(stop[:length]):
                    longest = max(longest, length)
        return longest


def _disarm(lm: LanguageModel, content: str) -> str:
    """Break special tokens that somebody typed, such as `<|im_end|>`, so that no message can pretend to be another."""
    for token in _special_texts(lm.tokenizer):
        content = content.replace(token, token[0] + ZERO_WIDTH_SPACE + token[1:])
    return content


def _special_texts(tokenizer: Any) -> list[str]:
    added = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    return [text for text in {*added, *tokenizer.all_special_tokens} if len(text) > 1]
