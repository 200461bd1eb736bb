"""Public functions on arrays, a file a subject."""
