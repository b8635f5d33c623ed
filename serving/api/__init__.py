"""The HTTP API: scores from the tables, and predictions of the champion, without Spark."""
