"""Bridges to other libraries. None is imported with numconv, and none imports the library that it speaks for."""
