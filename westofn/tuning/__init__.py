"""Choice of settings by validation data; test metrics are neither computed nor read."""
