"""Which comparison next, the lease, the answer, undo, history."""
