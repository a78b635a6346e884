"""Checkpoints: register, compare, gate, promote, roll back."""
