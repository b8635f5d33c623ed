"""The page of queries: its fenced blocks, and a lake on which each of them has an answer."""

import re
import shutil
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs.score import CURRENT_KEYS, SCORE_KEYS
from lake.contracts import CURRENT_SCORES, LIFETIME_VALUE, SCORES
from lake.store import Lake
from tests.jobs.commands import ROOT

PAGE = ROOT / "docs" / "sql.md"
# The customers who come into another band.
SOME = "pmod(xxhash64(customer_id), 10) = 0"


def blocks(language: str) -> list[str]:
    """The page's fenced blocks of a language, in their order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)


def write_history(spark: SparkSession, undisturbed: Path, folder: Path) -> None:
    """A copy of a lake in which the last matured day has scores and values too, and some customers
    have come into another band since.
    """
    shutil.copytree(undisturbed, folder)
    lake = Lake(spark, str(folder))
    day = lake.read("labels").agg(F.max("as_of")).collect()[0][0]
    worth = lake.read("lifetime_value").localCheckpoint().withColumn("as_of", F.lit(day))
    lake.replace(LIFETIME_VALUE, worth, f"as_of = DATE'{day}'")
    now = lake.read("scores").localCheckpoint()
    lake.amend(SCORES, now.withColumn("as_of", F.lit(day)), SCORE_KEYS, f"as_of = DATE'{day}'")
    other = F.when(F.col("band") == "low", "high").otherwise("low")
    changed = now.withColumn("band", F.when(F.expr(SOME), other).otherwise(F.col("band")))
    lake.amend(SCORES, changed, SCORE_KEYS, f"as_of > DATE'{day}'")
    lake.amend(CURRENT_SCORES, changed, CURRENT_KEYS)
