"""A feature is an aggregate of one customer's orders before a date; the label is whether
they order in the 30 days from it.
"""
