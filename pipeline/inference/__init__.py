"""Answers of a pushed model for videos."""
