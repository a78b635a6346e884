"""What the live head says: its estimate, its scores, and which answers led to a score."""
