# Databricks notebook source
# MAGIC %md
# MAGIC # SQL for analysts
# MAGIC
# MAGIC At the end you have the five views over the scores, an answer from each, and two plots: how the
# MAGIC segments compare, and how many customers have risen or fallen since the scores before.
# MAGIC [docs/sql.md](../docs/sql.md) has more queries, and other clients.

# COMMAND ----------

dbutils.widgets.text("schema", "", "catalog.schema of the tables; empty: a folder")
dbutils.widgets.text("lake", "lakehouse", "Folder of the tables, where there is no schema")
dbutils.widgets.text("env", "demo", "Environment: demo, databricks, or a YAML file of yours")

# COMMAND ----------

from jobs.options import open_job
from jobs.views import register, show_views
from serving import charts

schema = dbutils.widgets.get("schema")
job = open_job(
    dbutils.widgets.get("env"),
    [f"lake.catalog_schema={schema}"] if schema else [],
    None if schema else dbutils.widgets.get("lake"),
)
show_views(job, register(job))
if schema:
    job.spark.sql(f"USE {schema}")

# COMMAND ----------

# MAGIC %md
# MAGIC ## What a column means

# COMMAND ----------

display(job.spark.sql("DESCRIBE scored_customers").toPandas())

# COMMAND ----------

# MAGIC %md
# MAGIC ## Of whom most is expected, and why

# COMMAND ----------

display(
    job.spark.sql(
        """
        SELECT customer_id, segment, probability, expected_value, why
        FROM scored_customers
        ORDER BY expected_value DESC NULLS LAST, customer_id
        LIMIT 10
        """
    ).toPandas()
)

# COMMAND ----------

# MAGIC %md
# MAGIC ## The segments

# COMMAND ----------

sizes = job.spark.sql(
    """
    SELECT segment, customers, share, orderers, expected_value
    FROM segment_sizes
    WHERE segment IS NOT NULL
    ORDER BY expected_value DESC
    """
).toPandas()
display(sizes)
displayHTML(charts.bars(sizes["segment"], sizes["expected_value"], "money expected"))

# COMMAND ----------

# MAGIC %md
# MAGIC ## Who has risen, who has fallen

# COMMAND ----------

moved = job.spark.sql(
    """
    SELECT concat(previous_band, ' to ', band) AS moved, count(*) AS customers
    FROM score_history
    WHERE band_change IN ('up', 'down') AND as_of = (SELECT max(as_of) FROM scored_customers)
    GROUP BY moved
    ORDER BY customers DESC
    """
).toPandas()
display(moved)
displayHTML(charts.bars(moved["moved"], moved["customers"], "customers, by change of band"))

# COMMAND ----------

# MAGIC %md
# MAGIC ## Did the deciles hold what they promised?

# COMMAND ----------

display(
    job.spark.sql(
        """
        SELECT as_of, decile, customers, predicted, observed, lift, recall
        FROM decile_performance
        ORDER BY as_of DESC, decile
        """
    ).toPandas()
)

# COMMAND ----------

# MAGIC %md
# MAGIC ## Whom to win back first

# COMMAND ----------

display(
    job.spark.sql(
        """
        SELECT place, customer_id, probability, expected_value, recency_days
        FROM campaign_lists
        WHERE campaign = 'at risk' AND NOT control
        ORDER BY place
        LIMIT 20
        """
    ).toPandas()
)
