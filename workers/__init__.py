"""Background work: jobs, the training child and the engine; the only place torch is imported."""
