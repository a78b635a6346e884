"""Annotators that follow a hidden rule, for demonstrations and tests; they reach Pairloop only through its HTTP API."""
