"""Predictions of a pushed model for videos."""
