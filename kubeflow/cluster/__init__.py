"""What each step gets from the cluster: read from a file, written where the backend of a pipeline looks for it."""
