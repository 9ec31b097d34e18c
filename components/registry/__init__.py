"""Which models there are: candidates with their evaluations, and versions in production."""
