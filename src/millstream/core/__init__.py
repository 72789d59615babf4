"""Decisions. Pure functions and small state machines: no await, no clock, no chance, no I/O.

Imports the standard library, msgspec, and of ours only `events`, `policy` and `errors` (law 11).
"""
