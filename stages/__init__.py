"""One module a pipeline stage; each is run as `python -m stages.NAME` from the repository root."""

from westofn.execution.interrupts import listen_from_start

listen_from_start(__name__)
