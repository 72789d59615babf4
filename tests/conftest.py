"""For all tests: no example fails for having taken long. Machines differ, and may be busy.

Properties that name no number of their own try 40 examples, other ones each time; `make test-long`
tries 400 (`--hypothesis-profile=thorough`).
"""

from hypothesis import settings

settings.register_profile("usual", parent=settings.default, deadline=None, max_examples=40)
settings.register_profile("thorough", parent=settings.default, deadline=None, max_examples=400)
settings.load_profile("usual")
