"""The node library: sources, transforms, windows, timing, joins, alerts and outputs.

Each node is a config (a frozen Struct with bounds) and a function that makes the step's function
from it and the `Tools`. Simple ones are plain functions of one message, which run fused; those
that wait for time read a Stream.
"""
