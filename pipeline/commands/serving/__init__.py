"""The commands of a model server: its configuration, and a client."""
