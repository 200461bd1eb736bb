"""Suites for asv, and scripts that race models against other libraries; docs/benchmarks.md tells how to run them.

A suite times one thing; its `setup` allocates, compiles and checks.
"""
