"""Comparisons with other libraries. A package, since its files have the names of those that they go with."""
