"""What can be wrong with a model or with what it is asked to read; every message says what to do."""


class ModelUnusable(Exception):
    """This base model cannot be used; name a directory, a hub model, smollm2-135m-instruct or tiny."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.__doc__)


class ContextExceeded(Exception):
    """A conversation leaves the model no room for an answer."""

    def __init__(self, length: int, context: int) -> None:
        super().__init__(f"This conversation is {length} tokens long; the model reads at most {context}. Shorten it.")
        self.length = length
        self.context = context


class ConversationRefused(Exception):
    """The model's chat template does not accept this conversation."""


class Stopped(Exception):
    """The work was stopped because somebody asked for it."""
