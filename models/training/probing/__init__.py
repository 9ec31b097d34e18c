"""A probe: heads that are fitted to features that are computed once and do not change."""
