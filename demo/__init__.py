"""`make demo`: the whole loop with simulated annotators, measured on prompts that nobody labelled."""
