"""Background work: jobs, the training child and the engine; the only place torch is imported."""

import os

# Threads that spin while they wait for each other starve everything beside them: on two busy cores a forward pass took
# three times as long and three times as much processor time. libgomp reads this when torch is loaded, so it stands here.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
