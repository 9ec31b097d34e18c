"""The data contract: feature keys, specs and the curated schema. Imports nothing of ours."""
