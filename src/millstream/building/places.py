"""Where in a pipeline something is wrong, as every message about it begins."""


def at(pipeline: str, step: str, parameter: str | None = None) -> str:
    """Of a step, or of one parameter of it."""
    which = f", parameter {parameter!r}" if parameter else ""
    return f"pipeline {pipeline!r}, step {step!r}{which}"
