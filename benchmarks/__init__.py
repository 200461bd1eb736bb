"""Suites for asv (CONTRIBUTING.md tells how to run them), and scripts that race models against other libraries.

Each suite times one thing; `setup` allocates, compiles and checks. Every sample of every benchmark is the first of a
process less often than the default would have it:

    rounds 4, interleaved, each of up to 5 samples of 20 ms

"""
