"""For all tests: no example fails for having taken long. Machines differ, and may be busy.

Properties that name no number of their own try 40 examples, the same ones wherever `make test`
runs, so a change is judged by what it changes. `make test-long` looks for what nobody thought of:
400 examples, other ones each time (`--hypothesis-profile=thorough`).
"""

from hypothesis import settings

settings.register_profile(
    "usual", parent=settings.default, deadline=None, max_examples=40, derandomize=True
)
settings.register_profile(
    "thorough", parent=settings.default, deadline=None, max_examples=400, derandomize=False
)
settings.load_profile("usual")
