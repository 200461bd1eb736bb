"""What a process pays before its first result."""


def timeraw_import():
    return "import numconv"


def timeraw_first_call():
    """Its kernels are in the cache from the second sample on."""
    return """
import numpy as np, numconv as nc
nc.conv2d(np.ones((1, 8, 32, 32), np.float32), np.ones((8, 8, 3, 3), np.float32), padding=1)
"""


def timeraw_first_call_without_a_cache():
    return """
import os
os.environ["NUMCONV_CACHE"] = "0"
import numpy as np, numconv as nc
nc.conv2d(np.ones((1, 8, 32, 32), np.float32), np.ones((8, 8, 3, 3), np.float32), padding=1)
"""
