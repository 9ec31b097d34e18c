"""Files at any URI, and records in them; works without TFX."""
