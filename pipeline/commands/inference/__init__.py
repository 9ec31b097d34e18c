"""The commands that use a model."""
