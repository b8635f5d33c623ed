"""Scores to people: the report of a training."""
