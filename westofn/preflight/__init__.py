"""What `check` foresees of parameters, files, models and the machine, before torch is imported."""
