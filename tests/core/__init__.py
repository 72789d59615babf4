"""The core by direct calls: no event loop anywhere."""
