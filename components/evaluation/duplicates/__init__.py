"""Near duplicates: by hashes of what is seen, and by embeddings."""
