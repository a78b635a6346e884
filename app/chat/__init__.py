"""The chat page, the OpenAI-compatible gateway, and feedback from products."""
