"""Tools around the kernels: the oracle, named problems, benchmark shapes, and checks and races of a kernel."""

from numconv.lab.layers import problems as problems
from numconv.lab.racing import race as race
