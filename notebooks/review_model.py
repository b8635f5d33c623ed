# Databricks notebook source
# MAGIC %md
# MAGIC # Review a model: is it good, is it honest, what does it look at?
# MAGIC
# MAGIC At the end you have the champion's figures beside those of the baselines that it must beat, its
# MAGIC gain curve, its reliability, its most important features as plots, and its model card as a page
# MAGIC to hand on. All figures are from the held-out date, which training had not seen.

# COMMAND ----------

dbutils.widgets.text("schema", "", "catalog.schema of the tables; empty: a folder")
dbutils.widgets.text("lake", "lakehouse", "Folder of the tables, where there is no schema")
dbutils.widgets.text("env", "demo", "Environment: demo, databricks, or a YAML file of yours")
dbutils.widgets.text("version", "", "The model's version; empty: the champion")
dbutils.widgets.text("margin", "20", "What an order brings")
dbutils.widgets.text("contact_cost", "1", "What a contact costs")
dbutils.widgets.text("card", "report.html", "File for the model card")

# COMMAND ----------

from jobs.list_models import show_models
from jobs.options import open_job
from jobs.report import training_of

schema = dbutils.widgets.get("schema")
job = open_job(
    dbutils.widgets.get("env"),
    [f"lake.catalog_schema={schema}"] if schema else [],
    None if schema else dbutils.widgets.get("lake"),
)
show_models(job)
training = training_of(job, dbutils.widgets.get("version") or None)
name = training.model["model_name"]
print(f"{training.model['model_version']}: {name}, held out {training.model['held_out']}")
print(training.model["decision"])

# COMMAND ----------

# MAGIC %md
# MAGIC ## Beside the baselines

# COMMAND ----------

from serving import charts

figures = training.evaluations.pivot_table(index="model", columns="metric", values="value")
display(figures[["roc_auc", "pr_auc", "log_loss", "brier", "ece"]].sort_values("log_loss"))
area = {"roc_auc": "value", "roc_auc_low": "low", "roc_auc_high": "high"}
known = figures[list(area)].dropna().rename(columns=area).reset_index()
displayHTML(charts.intervals(known, name, "ROC-AUC, 95 % interval"))

# COMMAND ----------

# MAGIC %md
# MAGIC ## What contacting the likeliest finds

# COMMAND ----------

curves = {model: rows for model, rows in training.curves.groupby("model")}
ranked = {model: curves[model] for model in (name, "recency") if model in curves}
axes = ("share of the customers contacted", "share of all orderers found")
displayHTML(charts.lines(ranked, "contacted", "recall", axes, charts.from_corner_to_corner))

# COMMAND ----------

# MAGIC %md
# MAGIC ## Is a probability a probability?

# COMMAND ----------

bins = training.reliability.query("model == @name and bins == 10").sort_values("bin")
displayHTML(charts.reliability(bins))

# COMMAND ----------

# MAGIC %md
# MAGIC ## What it looks at

# COMMAND ----------

top = training.importances.head(15)
displayHTML(charts.bars(top["feature"], top["gain"], "share of the gain"))
for feature in top["feature"].head(5):
    print(f"{feature}: {training.descriptions.get(feature, '')}")

# COMMAND ----------

# MAGIC %md
# MAGIC ## The model card

# COMMAND ----------

from pathlib import Path

from serving.report import Offer, page

offer = Offer(float(dbutils.widgets.get("margin")), float(dbutils.widgets.get("contact_cost")))
card = page(training, offer)
Path(dbutils.widgets.get("card")).write_text(card, encoding="utf-8")
displayHTML(card)
