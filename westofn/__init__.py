"""West-of-N: synthetic preferences for reward models (arXiv 2401.12086)."""

from westofn.execution.interrupts import listen_from_start

listen_from_start(__name__)
