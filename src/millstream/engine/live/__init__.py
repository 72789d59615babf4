"""The live plane: messages pass between steps and are not logged; what a step publishes is.

Uses the engine's journal and executors; knows no HTTP, no store. `plane` is where to begin.
"""
