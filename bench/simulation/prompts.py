"""Prompts from templates and topics: training, selection and test share neither, so that nothing is known by heart."""

from typing import NamedTuple

TEMPLATES = {
    "train": (
        "Explain in one or two sentences what {} is about.",
        "Why do people like {}?",
        "Write two sentences about {}.",
        "Give me a tip about {}.",
        "What should a beginner know about {}?",
        "Describe {} to a child.",
        "Tell me something surprising about {}.",
        "What is good about {}?",
        "Name a few things that go well with {}.",
        "Write a short note to a friend about {}.",
    ),
    "selection": (
        "What comes to mind when you think of {}?",
        "Say something about {} to a stranger.",
        "What makes {} special?",
        "How would you spend a day with {}?",
    ),
    "test": (
        "Sum up {} in a sentence or two.",
        "How can I enjoy {} more?",
        "Write a tiny story with {} in it.",
        "Is {} worth the trouble?",
        "Recommend {} to somebody.",
        "What do people get wrong about {}?",
        "Give me a reason to try {}.",
        "What would you tell your grandmother about {}?",
        "How does one start with {}?",
        "What do I need for {}?",
    ),
}
TOPICS = {
    "train": (
        *("gardening", "cycling", "chess", "baking bread", "swimming", "drawing", "keeping a diary", "hiking"),
        *("learning a language", "playing the guitar", "cooking soup", "photography", "knitting", "fishing"),
        *("reading novels", "camping", "painting a room", "stargazing", "running", "making tea"),
    ),
    "selection": (
        *("singing in a choir", "birdwatching", "sailing", "woodwork", "dancing", "growing tomatoes"),
        *("playing cards", "writing letters", "ice skating", "visiting museums"),
    ),
    "test": (
        *("pottery", "yoga", "skiing", "making jam", "volunteering", "collecting stamps", "train journeys", "juggling"),
        *("keeping bees", "playing the piano", "rowing", "sewing", "going to the theatre", "climbing", "grilling"),
        *("learning to code", "walking a dog", "planting trees", "puzzles", "early mornings"),
    ),
}


class Asked(NamedTuple):
    """One prompt and the part of the study it belongs to."""

    part: str
    text: str


def all_prompts() -> list[Asked]:
    """Return 200 prompts for training, 40 for selection and 200 for the test, in a fixed order."""
    return [
        Asked(part, template.format(topic))
        for part in TEMPLATES
        for topic in TOPICS[part]
        for template in TEMPLATES[part]
    ]
