"""How work comes in: the command line now, HTTP, uploads and queues later."""

import os

# The matrices here are tiny: OpenBLAS's threads only spin, for twice the CPU. It reads this when numpy is imported, and
# workers inherit it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
