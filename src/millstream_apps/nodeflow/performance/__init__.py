"""The performance suite of live flows: loads of known shape through real live pipelines.

`plans` says what a test is, `load` makes its messages, `flow` its pipeline, `usage` measures the
process, `suite` runs tests, `results` judges them, `reporting` writes them down.
"""
