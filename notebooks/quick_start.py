# Databricks notebook source
# MAGIC %md
# MAGIC # Quick start: from nothing to scores, and were they right?
# MAGIC
# MAGIC At the end you have a generated log, the tables of the whole job made of it, the scores of a day
# MAGIC a month before its end, those of the day after it, and three plots: how many customers each band
# MAGIC has, what was predicted of each decile beside what followed, and the lift of the deciles.
# MAGIC
# MAGIC Install the wheel on the cluster (`%pip install repurchase-0.1.0-py3-none-any.whl`) or open the
# MAGIC repository as a Git folder. The other notebooks go on from the tables that this one makes.

# COMMAND ----------

dbutils.widgets.text("schema", "", "catalog.schema of the tables; empty: a folder")
dbutils.widgets.text("lake", "lakehouse", "Folder of the tables, where there is no schema")
dbutils.widgets.text("models", "", "Folder of the saved models; empty: beside the tables")
dbutils.widgets.text("log", "lakehouse/generated", "Folder for the generated log")
dbutils.widgets.text("customers", "5000", "Customers to generate")
dbutils.widgets.text("days", "500", "Days to generate")
dbutils.widgets.text("env", "demo", "Environment: demo, databricks, or a YAML file of yours")

# COMMAND ----------

from datetime import timedelta

from jobs.generate import generate
from jobs.options import open_job
from lake.synthetic import SyntheticShop

schema, models = dbutils.widgets.get("schema"), dbutils.widgets.get("models")
places = {"lake.catalog_schema": schema, "lake.models_path": models}
job = open_job(
    dbutils.widgets.get("env"),
    [f"{key}={value}" for key, value in places.items() if value],
    None if schema else dbutils.widgets.get("lake"),
)
if schema:
    job.spark.sql(f"CREATE SCHEMA IF NOT EXISTS {schema}")
shop = SyntheticShop(
    customers=int(dbutils.widgets.get("customers")), days=int(dbutils.widgets.get("days")), seed=1
)
log, horizon = dbutils.widgets.get("log"), job.settings.snapshots.horizon_days
lines = generate(job.spark, shop, log, [], horizon)
print(f"{lines:,} lines in {log}/log")

# COMMAND ----------

# MAGIC %md
# MAGIC ## A month ago
# MAGIC
# MAGIC `as_of` is the day that is today: nothing dated on or after it can touch a feature, a model or a
# MAGIC score. So the scores of a day a month before the end of the log can be held against that month.

# COMMAND ----------

from conf.source import load_source
from jobs.run import run

today = shop.start + timedelta(shop.days)
month_ago = today - timedelta(horizon)
run(job, load_source("generated"), f"{log}/log", month_ago)

# COMMAND ----------

# MAGIC %md
# MAGIC ## Today
# MAGIC
# MAGIC The champion of a month ago scores today's customers; the labels of a month ago have matured.

# COMMAND ----------

from jobs.build_features import build_features
from jobs.options import log_span
from jobs.score import score, show_scored

span = log_span(job, today)
build_features(job, span, [month_ago, today])
score(job, today)
show_scored(job, today)

# COMMAND ----------

from serving import charts

bands = (
    job.lake.read("current_scores").groupBy("band").count().orderBy("count", ascending=False)
).toPandas()
displayHTML(charts.bars(bands["band"], bands["count"], "customers today, by band"))

# COMMAND ----------

# MAGIC %md
# MAGIC ## What was predicted a month ago, and what followed

# COMMAND ----------

from jobs.views import register

register(job)
if schema:
    job.spark.sql(f"USE {schema}")
deciles = job.spark.table("decile_performance").where(f"as_of = DATE'{month_ago}'")
deciles = deciles.orderBy("decile").toPandas()
display(deciles)
displayHTML(charts.reliability(deciles))

# COMMAND ----------

names = [f"decile {decile}" for decile in deciles["decile"]]
displayHTML(charts.bars(names, deciles["lift"], "times as many orders as among all customers"))
