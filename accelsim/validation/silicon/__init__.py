"""Kernels timed on silicon: rows of ``ops.csv`` and its like, beside what the mapping says of the same kernel."""
