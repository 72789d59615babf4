"""For all tests: no example fails for having taken long. Machines differ, and may be busy."""

from hypothesis import settings

settings.register_profile("timeless", parent=settings.default, deadline=None)
settings.load_profile("timeless")
