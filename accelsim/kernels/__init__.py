"""Compiled loops on plain numbers and arrays; no type of accelsim enters. The only home of numba."""
