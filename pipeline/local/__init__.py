"""A run on this machine: its folder, its runner, and how it is stopped."""
