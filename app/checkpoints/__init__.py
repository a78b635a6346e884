"""Checkpoints: register, judge, gate, put before people, promote, roll back, take away, bring back."""
