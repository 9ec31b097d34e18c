"""`vivit check`: lists, decodes and describes videos as ingest would."""
