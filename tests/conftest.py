"""Settings that all tests share."""

import os

from hypothesis import settings

settings.register_profile("accelsim", deadline=None, derandomize=True, max_examples=60)
settings.register_profile("deep", deadline=None, max_examples=1500)  # by hand: HYPOTHESIS_PROFILE=deep
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "accelsim"))
