# Databricks notebook source
# MAGIC %md
# MAGIC # A feature of your own, and whether it can be trusted
# MAGIC
# MAGIC At the end you have a feature written as one line of SQL, its values, the lines of the log behind
# MAGIC one of them, the verdict of the leakage audit, and a plot of how well it tells by itself who
# MAGIC orders, beside the strongest features that ship with the project. No table is changed.

# COMMAND ----------

dbutils.widgets.text("schema", "", "catalog.schema of the tables; empty: a folder")
dbutils.widgets.text("lake", "lakehouse", "Folder of the tables, where there is no schema")
dbutils.widgets.text("env", "demo", "Environment: demo, databricks, or a YAML file of yours")
dbutils.widgets.text("name", "weekend_orders", "The feature's name")
dbutils.widgets.text("description", "Orders on Saturdays and Sundays", "What it is")
dbutils.widgets.text(
    "sql",
    "count(distinct case when kind = 'purchase' and dayofweek(ordered_on) in (1, 7) then order_id end)",
    "A Spark SQL aggregate over the lines of a window",
)
dbutils.widgets.text("window", "90d", "Its window: days such as 90d, or lifetime")

# COMMAND ----------

import json

from jobs.options import log_span, open_job

schema = dbutils.widgets.get("schema")
own = {name: dbutils.widgets.get(name) for name in ("name", "description", "sql")}
feature = f"{own['name']}_{dbutils.widgets.get('window')}"
custom = json.dumps([{**own, "windows": [dbutils.widgets.get("window")]}])
job = open_job(
    dbutils.widgets.get("env"),
    [f"features.custom={custom}", *([f"lake.catalog_schema={schema}"] if schema else [])],
    None if schema else dbutils.widgets.get("lake"),
)
span = log_span(job, None)

# COMMAND ----------

# MAGIC %md
# MAGIC ## Its values today

# COMMAND ----------

from jobs.build_features import features_at, known_before
from serving import charts

values = features_at(job, span, known_before(job, span), [span.as_of]).select(
    "customer_id", feature
)
counts = values.groupBy(feature).count().orderBy("count", ascending=False).limit(12).toPandas()
displayHTML(charts.bars(counts[feature].astype(str), counts["count"], f"customers by {feature}"))

# COMMAND ----------

# MAGIC %md
# MAGIC ## The lines of the log behind one of them

# COMMAND ----------

from jobs.explain import explain

most = values.orderBy(values[feature].desc_nulls_last(), "customer_id").first()
explain(job, span, most["customer_id"], feature)

# COMMAND ----------

# MAGIC %md
# MAGIC ## Is there anything of the future in it?
# MAGIC
# MAGIC The audit makes all features of a past day twice: from the tables as they are, and with everything
# MAGIC dated on or after that day lost, changed or invented. They must be equal. A feature that tells by
# MAGIC itself almost perfectly who orders is suspected too.

# COMMAND ----------

from jobs.audit import audit, show_audited

IMPLAUSIBLE = 0.95
audited = audit(job, span)
all_is_well = show_audited(audited, IMPLAUSIBLE)

# COMMAND ----------

strongest = audited.power.drop(feature).head(9)
shown = strongest.to_dict() | {f"yours: {feature}": audited.power[feature]}
displayHTML(charts.bars(list(shown), list(shown.values()), "ROC-AUC by itself (0.5: chance)"))

# COMMAND ----------

# MAGIC %md
# MAGIC ## Keep it
# MAGIC
# MAGIC Write it into the environment file that your jobs use, under `features.custom`; the next
# MAGIC `repurchase build-features` and `repurchase train` then build it, describe it and train on it.

# COMMAND ----------

print(f"features:\n  custom: {custom}")
