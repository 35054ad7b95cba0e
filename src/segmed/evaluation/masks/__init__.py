"""Masks of any tool: whose each is, what its numbers mean, on which grid it lies, and its scores."""
