"""The benchmark suite: Millstream and what its users would pick instead, side by side.

`python -m bench` (or `make bench`) runs it; `docs/performance.md` says what it measures and how.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # what is measured in numpy is one core
