"""The commands, one file a step; each is `repurchase VERB` and `spark-submit jobs/VERB.py`."""
