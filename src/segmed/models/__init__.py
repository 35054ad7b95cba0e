"""Models: a plain table of builders, the checkpoint on disk, and floors that learn nothing."""
