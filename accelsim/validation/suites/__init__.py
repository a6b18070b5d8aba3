"""One module for each suite, with a ``SUITE``."""
