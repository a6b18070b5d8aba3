"""Which of our devices a measured row is of, where its name is that of a whole range of cards."""

from __future__ import annotations

import re

from accelsim.hardware.device import Device
from accelsim.validation.silicon.predict import device_of
from accelsim.validation.silicon.rows import Measurement

_SYSTEMS = ((r";system=(eb6|rb6)-qaic", "qualcomm_ai100_dm2e"),)
"""What the notes of a submission to MLPerf say of its system, and the card that the system's description names:

the Thundercomm TurboX EB6 and RB6 hold a Cloud AI 100 DM.2e at 15 W (closed/Krai/systems of v3.0), where the
Lenovo SE350 holds the Pro at 75 W (open/Lenovo/systems of v2.1).
"""


def device_of_row(row: Measurement) -> Device:
    """The shipped device that a row is of. Raises UnmodelledError where there is none."""
    notes = row.text("notes").lower()
    return device_of(next((name for system, name in _SYSTEMS if re.search(system, notes)), row.text("device")))
