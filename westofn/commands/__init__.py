"""The command line `westofn`."""
