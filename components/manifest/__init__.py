"""From tables, folders and annotations to checked clips; works without TFX."""
