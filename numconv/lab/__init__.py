"""Tools around the kernels: the oracle, named problems, benchmark shapes, and checks and races of a kernel."""
