"""Pictures of operations: which input touches which output, window by window, with the numbers."""
