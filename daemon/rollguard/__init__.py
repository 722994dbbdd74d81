"""Rollguard: the always-on guard of production releases."""

__version__ = "0.1.0"
