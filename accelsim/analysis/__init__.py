"""Folds over a trace: latency, energy, roofline, bounds. Never imports the engine."""
