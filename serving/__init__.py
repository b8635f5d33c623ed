"""Scores to people: the report of a training, the API, the dashboard, SQL views."""
