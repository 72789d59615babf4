"""Builds the graph of a pipeline out of its declared functions, or says what is wrong with them.

`functions` reads what a function says of itself; `drafts` finds the input and the arrows by the
parameters' names; then `durable` or `live` decides how each parameter reads, and what fits what.
Pure; runs nothing. Every error names the pipeline, the step, the parameter and the fix.
"""
