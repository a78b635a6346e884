"""Measurements beside their peers or limits; one file per claim, one table out."""
