"""What the containers of a compiled pipeline run."""
