"""Snapshots and exports: answers out of the house, hashed and explained."""
