"""The Delta tables: one contract each, reading, idempotent writing, quarantine."""
