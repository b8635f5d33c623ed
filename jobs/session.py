"""The Spark session of a command: the platform's, spark-submit's, Connect's, or its own."""

import os
import sys
from importlib import resources
from pathlib import Path

import pyspark
from pyspark import SparkConf
from pyspark.sql import SparkSession

from conf.settings import SparkSettings

_DELTA = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}
_DELTA_PACKAGE = "io.delta:delta-spark_4.2_2.13:4.4.0"


def spark_session(settings: SparkSettings) -> SparkSession:
    """The running session, or a new one as the settings say.

    What `spark-submit` was told wins over the settings. The session's time zone is pinned to
    UTC; the log's days are cut in the source's zone when it is ingested.
    """
    if settings.remote:
        spark = SparkSession.builder.remote(settings.remote).getOrCreate()
        for key, value in settings.config.items():
            spark.conf.set(key, value)
    else:
        spark = SparkSession.getActiveSession() or _classic(settings)
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    return spark


def _classic(settings: SparkSettings) -> SparkSession:
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    wanted = {**_DELTA, **{key: str(value) for key, value in settings.config.items()}}
    builder = SparkSession.builder.appName("repurchase")
    if "PYSPARK_GATEWAY_PORT" in os.environ:  # started by spark-submit, which has a configuration
        submitted = SparkConf()
        wanted = {key: value for key, value in wanted.items() if not submitted.contains(key)}
    elif settings.master:
        builder = builder.master(settings.master)
        if settings.master.startswith("local"):
            os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        if not list(Path(pyspark.__file__).parent.glob("jars/*delta-spark*.jar")):
            wanted.setdefault("spark.jars.packages", _DELTA_PACKAGE)
        quiet = resources.files("conf") / "log4j2.properties"
        if isinstance(quiet, Path):
            options = wanted.get("spark.driver.extraJavaOptions", "")
            wanted["spark.driver.extraJavaOptions"] = (
                f"-Dlog4j2.configurationFile={quiet} {options}"
            )
    for key, value in wanted.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()
