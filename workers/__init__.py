"""Background work: jobs, the training child and the engine; the only place torch is imported."""

import os

# Read by OpenMP when torch is loaded. By default a thread that waits for another one spins for milliseconds, which is
# fine alone and ten times slower as soon as an engine and a training child share two cores.
os.environ.setdefault("GOMP_SPINCOUNT", "5000")
# numpy's own threads gain little on matrices of a few hundred columns, and on cores that are busy with a model they
# cost a great deal: the live head's refit took 0.6 s with two of them and 0.1 s with one.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# oneDNN prepares itself anew for every number of rows and keeps what it prepared, a thousand times by default. Rows of
# answers hardly ever add up to the same number twice: a reward run held 440 MB of what it never used again.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
os.environ.setdefault("LRU_CACHE_CAPACITY", "64")
