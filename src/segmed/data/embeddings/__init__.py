"""Embeddings of every slice by a frozen image encoder, computed once and kept: shards, their plan, and reading them."""

from segmed.data.embeddings.cache import EmbeddingCache
from segmed.data.embeddings.plan import EmbeddingKey, EmbeddingPlan

__all__ = ["EmbeddingCache", "EmbeddingKey", "EmbeddingPlan"]
