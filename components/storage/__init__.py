"""Files at any URI, records in them, and what the machine has: memory, disk, processors; works without TFX."""
