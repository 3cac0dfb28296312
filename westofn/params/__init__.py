"""Parameters by section: a stage imports the modules of the sections that it reads."""
