"""Convolution and pooling inside a function of one's own that `numba.njit` compiles.

    import numba
    import numconv.njit as nj

    @numba.njit(cache=True)
    def features(x, w):
        return nj.max_pool2d(nj.relu(nj.conv2d(x, w, padding=1)), 2)

Arguments are those of the functions of the same name in `numconv`. Each runs on the thread that calls it, so that it
may be called in the iterations of a `prange`. In plain Python they are the functions of `numconv` themselves. Importing
this module loads Numba.
"""

from numconv.njit._conv import conv1d as conv1d
from numconv.njit._conv import conv2d as conv2d
from numconv.njit._conv import conv3d as conv3d
from numconv.njit._conv import conv_transpose1d as conv_transpose1d
from numconv.njit._conv import conv_transpose2d as conv_transpose2d
from numconv.njit._conv import conv_transpose3d as conv_transpose3d
from numconv.njit._pool import avg_pool1d as avg_pool1d
from numconv.njit._pool import avg_pool2d as avg_pool2d
from numconv.njit._pool import avg_pool3d as avg_pool3d
from numconv.njit._pool import max_pool1d as max_pool1d
from numconv.njit._pool import max_pool2d as max_pool2d
from numconv.njit._pool import max_pool3d as max_pool3d
from numconv.njit._pool import relu as relu
