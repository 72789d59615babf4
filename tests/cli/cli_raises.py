"""A module that fails while it is imported."""

raise KeyError("nothing")
