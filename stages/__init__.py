"""One module a pipeline stage; each is run as `python -m stages.NAME` from the repository root."""
