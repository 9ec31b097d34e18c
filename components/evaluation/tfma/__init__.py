"""TFMA on a table of predictions, for its dashboards."""
