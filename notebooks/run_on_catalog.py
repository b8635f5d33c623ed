# Databricks notebook source
# MAGIC %md
# MAGIC # From a transaction log to repeat-purchase scores, on catalog tables
# MAGIC
# MAGIC At the end you have, in the schema of your choice, all tables of the job (README, "The tables"),
# MAGIC the twenty likeliest customers, and the figures of every model and baseline on the held-out date.
# MAGIC
# MAGIC The notebook is thin on purpose: it calls what `repurchase run` calls. Install the wheel on the
# MAGIC cluster (`%pip install repurchase-0.1.0-py3-none-any.whl`) or open the repository as a Git folder.

# COMMAND ----------

dbutils.widgets.text("source", "online_retail", "Source: a shipped name, or a YAML file of yours")
dbutils.widgets.text(
    "input", "/Volumes/main/repurchase/logs/online_retail", "The log: path or table"
)
dbutils.widgets.text("schema", "main.repurchase", "catalog.schema of the tables")
dbutils.widgets.text("models", "/Volumes/main/repurchase/models", "Folder of the saved models")
dbutils.widgets.text("as_of", "", "Today is this day, YYYY-MM-DD; empty: the day after the log")
dbutils.widgets.text("env", "databricks", "Environment: databricks, or a YAML file of yours")

# COMMAND ----------

from datetime import date

from conf.source import load_source
from jobs.options import open_job
from jobs.run import run

schema = dbutils.widgets.get("schema")
spark.sql(f"CREATE SCHEMA IF NOT EXISTS {schema}")
job = open_job(
    dbutils.widgets.get("env"),
    [f"lake.catalog_schema={schema}", f"lake.models_path={dbutils.widgets.get('models')}"],
    None,
)
as_of = dbutils.widgets.get("as_of")
run(
    job,
    load_source(dbutils.widgets.get("source")),
    dbutils.widgets.get("input"),
    date.fromisoformat(as_of) if as_of else None,
)

# COMMAND ----------

# MAGIC %md
# MAGIC ## Who is likeliest to order again

# COMMAND ----------

likeliest = spark.sql(
    f"""
    SELECT customer_id, round(probability, 3) AS probability, decile, band
    FROM {schema}.current_scores ORDER BY probability DESC, customer_id LIMIT 20
    """
)
likeliest.show()

# COMMAND ----------

# MAGIC %md
# MAGIC ## How the models did on the date that they had not seen

# COMMAND ----------

evaluations = spark.sql(
    f"""
    SELECT * FROM (SELECT as_of, model, model_version, metric, value FROM {schema}.evaluations)
    PIVOT (first(value) FOR metric IN ('roc_auc', 'pr_auc', 'log_loss', 'brier', 'ece'))
    ORDER BY as_of DESC, log_loss
    """
)
evaluations.show()
