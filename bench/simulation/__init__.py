"""Does the trainer learn what annotators mean? Simulated annotators with known rules, known noise and a known ceiling.

`python -m bench.simulation sample|reward|policy|report --home DIR`, each stage from what the one before left there.
"""
