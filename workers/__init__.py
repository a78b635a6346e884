"""Background work: jobs, the training child and the engine; the only place torch is imported."""

import os

# Read by OpenMP when torch is loaded. By default a thread that waits for another one spins for milliseconds, which is
# fine alone and ten times slower as soon as an engine and a training child share two cores.
os.environ.setdefault("GOMP_SPINCOUNT", "5000")
