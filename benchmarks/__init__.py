"""Benchmarks for asv: `asv run`. Shapes come from numconv.lab.shapes; `setup` allocates, compiles and checks."""
