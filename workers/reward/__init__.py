"""The reward model: from a snapshot of answers to a number for every response."""
