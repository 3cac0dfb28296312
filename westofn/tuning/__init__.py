"""Choice of settings by validation data alone; test metrics are neither computed nor read."""
