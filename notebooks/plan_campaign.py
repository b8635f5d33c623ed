# Databricks notebook source
# MAGIC %md
# MAGIC # Plan a campaign: whom to contact with this budget?
# MAGIC
# MAGIC At the end you have the list of the customers who bring most beyond the cost of a contact, as far
# MAGIC as the budget reaches, as a CSV file and as a table; a control group to measure the campaign
# MAGIC against; and plots of what is expected as the budget grows and of whom the list holds.
# MAGIC
# MAGIC Who is in the control group depends on the campaign's name and the customer alone, so planning
# MAGIC again tomorrow spares the same customers.

# COMMAND ----------

dbutils.widgets.text("schema", "", "catalog.schema of the tables; empty: a folder")
dbutils.widgets.text("lake", "lakehouse", "Folder of the tables, where there is no schema")
dbutils.widgets.text("env", "demo", "Environment: demo, databricks, or a YAML file of yours")
dbutils.widgets.text("campaign", "spring", "The campaign's name: letters, digits, _")
dbutils.widgets.text("margin_share", "0.3", "The share of an order's money that is margin")
dbutils.widgets.text("contact_cost", "1.5", "What a contact costs")
dbutils.widgets.text("budget", "500", "What all contacts may cost")
dbutils.widgets.text("control_share", "0.1", "The share of the list that is not contacted")
dbutils.widgets.text("csv", "campaign.csv", "File for the list")

# COMMAND ----------

from jobs.options import open_job
from jobs.views import register

schema = dbutils.widgets.get("schema")
job = open_job(
    dbutils.widgets.get("env"),
    [f"lake.catalog_schema={schema}"] if schema else [],
    None if schema else dbutils.widgets.get("lake"),
)
register(job)
if schema:
    job.spark.sql(f"USE {schema}")
scored = job.spark.table("scored_customers").where(job.settings.snapshots.horizon.where)

# COMMAND ----------

# MAGIC %md
# MAGIC ## The list

# COMMAND ----------

from models.campaigns import Campaign, planned

campaign = Campaign(
    dbutils.widgets.get("campaign"),
    contact_cost=float(dbutils.widgets.get("contact_cost")),
    budget=float(dbutils.widgets.get("budget")),
    control_share=float(dbutils.widgets.get("control_share")),
)
wanted = ("customer_id", "probability", "segment", "band", "expected_order_value", "why")
customers = scored.select(*wanted).toPandas()
margin = float(dbutils.widgets.get("margin_share")) * customers["expected_order_value"]
chosen = planned(customers.assign(margin=margin), campaign)
contacted = chosen[~chosen["control"]]
print(
    f"{campaign.name}: {len(contacted):,} to contact for {len(contacted) * campaign.contact_cost:,.2f} "
    f"of {campaign.budget:,.2f}, {len(chosen) - len(contacted):,} in the control group; "
    f"expected profit {contacted['expected_profit'].sum():,.2f}"
)
display(chosen.head(20))

# COMMAND ----------

# MAGIC %md
# MAGIC ## What is expected as the budget grows
# MAGIC
# MAGIC The profit counts every order of a contacted customer, also those that would have come anyway: what
# MAGIC the campaign itself brings is the difference to the control group.

# COMMAND ----------

from dataclasses import replace

import numpy as np

from serving import charts

everybody = planned(
    customers.assign(margin=margin),
    replace(campaign, budget=len(customers) * campaign.contact_cost),
)
grown = everybody[~everybody["control"]]
grown = grown.assign(
    spent=np.arange(1, len(grown) + 1) * campaign.contact_cost,
    profit=grown["expected_profit"].cumsum(),
)
within = {"all who pay": grown, "within the budget": grown[grown["spent"] <= campaign.budget]}
displayHTML(charts.lines(within, "spent", "profit", ("spent on contacts", "expected profit")))

# COMMAND ----------

segments = contacted["segment"].value_counts()
displayHTML(charts.bars(list(segments.index), list(segments), "customers to contact, by segment"))

# COMMAND ----------

# MAGIC %md
# MAGIC ## Hand it on
# MAGIC
# MAGIC The CSV file and the table `campaign_NAME` hold both groups; the column `control` says whom not to
# MAGIC contact. Keep it: the comparison afterwards needs both.

# COMMAND ----------

columns = ["customer_id", "control", "expected_profit", "probability", "segment", "band", "why"]
chosen[columns].to_csv(dbutils.widgets.get("csv"), index=False)
table = job.lake.name(f"campaign_{campaign.name}")
job.spark.createDataFrame(chosen[columns]).writeTo(table).using("delta").createOrReplace()
print(f"{len(chosen):,} customers in {dbutils.widgets.get('csv')} and {table}")
