"""Pairloop's web application and domain: pages, JSON API, tables and rules."""

__version__ = "0.1.0"
