"""Running work: resumable shards, scratch folders, processes, progress and DVC experiments."""
