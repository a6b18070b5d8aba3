"""Settings that all tests share."""

from hypothesis import settings

settings.register_profile("accelsim", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("accelsim")
