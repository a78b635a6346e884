"""Bring prompts and ready-made comparisons in."""
