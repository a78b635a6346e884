"""The life of a run: what is due, what follows what, its metrics and live pages."""
