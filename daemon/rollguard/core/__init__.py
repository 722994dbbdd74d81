"""The decision: values in, values out.

Law of this package: standard library only; no clock, no I/O, no chance, no logging. ``now`` is always an
argument, in seconds since the epoch. The same functions run in the daemon, on the command line and in tests.
"""
