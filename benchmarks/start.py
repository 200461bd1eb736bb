"""What a process pays before its first result: importing, and the first call with a warm cache."""


def timeraw_import():
    return "import numconv"


def timeraw_first_call():
    return """
import numpy as np, numconv as nc
nc.conv2d(np.ones((1, 8, 32, 32), np.float32), np.ones((8, 8, 3, 3), np.float32), padding=1)
"""
