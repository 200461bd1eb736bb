"""Arrays in files: written at once or not at all, read without trusting a byte."""
