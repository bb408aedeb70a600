"""Orrery: a working model of a cloud on one machine."""

__version__ = "0.1.0"
