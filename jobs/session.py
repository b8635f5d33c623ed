"""The Spark session of a command: the platform's, spark-submit's, Connect's, or its own."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import resources
from pathlib import Path

import pyspark
from pyspark import SparkConf
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from conf.settings import SparkSettings

_EXTENSIONS = "spark.sql.extensions"
_CATALOG = "spark.sql.catalog.spark_catalog"
_DRIVER_OPTIONS = "spark.driver.extraJavaOptions"
_PACKAGES = "spark.jars.packages"
_DELTA_EXTENSION = "io.delta.sql.DeltaSparkSessionExtension"
_DELTA_CATALOG = "org.apache.spark.sql.delta.catalog.DeltaCatalog"
# Of a session, whoever made it; what the settings say of them wins.
_FASTER = {
    # A hundred columns in one Java method are more than its 64 KiB, which Spark says as an error
    # before it goes on without; from 8,000 bytes on the JVM only interprets it.
    "spark.sql.codegen.maxFields": "40",
    # Before its map of all groups, Spark asks a small one of the first 65,000; of as many groups as
    # there are orders in a log hardly one is found there, and a quarter of the time is lost.
    "spark.sql.codegen.aggregate.map.twolevel.enabled": "false",
    # With a limit in bytes, Spark adds up the size of a batch for Python after every row, which
    # takes longer than to write it; batches end after 10,000 rows anyway.
    "spark.sql.execution.arrow.maxBytesPerBatch": str(2**31 - 1),
}
# Of a session that is made here, from its first moment.
_FROM_THE_START = {
    # Spark keeps the last 100 pieces of code that it has compiled. A training has several hundred,
    # and with each fold, model and date the same ones are compiled and become warm anew.
    "spark.sql.codegen.cache.maxEntries": "1000",
}
_DELTA_PACKAGE = "io.delta:delta-spark_4.2_2.13:4.4.0"


def spark_session(settings: SparkSettings) -> SparkSession:
    """The running session, or a new one as the settings say.

    What `spark-submit` was told wins over the settings: its master above all. The session's time
    zone is pinned to UTC; the log's days are cut in the source's zone when it is ingested.
    """
    if settings.remote:
        spark = SparkSession.builder.remote(settings.remote).getOrCreate()
        for key, value in settings.config.items():
            spark.conf.set(key, value)
    else:
        spark = SparkSession.getActiveSession() or _classic(settings)
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    for key in _FASTER.keys() - settings.config.keys():
        with suppress(PySparkException):  # some platforms have the last word
            spark.conf.set(key, _FASTER[key])
    return spark


def _classic(settings: SparkSettings) -> SparkSession:
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    wanted = {**_FROM_THE_START, **{key: str(value) for key, value in settings.config.items()}}
    builder = SparkSession.builder.appName("repurchase")
    if "PYSPARK_GATEWAY_PORT" in os.environ:  # started by spark-submit, which has a configuration
        submitted = dict(SparkConf().getAll())
        whole = _with_delta({**wanted, **submitted})
        wanted = {key: value for key, value in whole.items() if submitted.get(key) != value}
    else:
        wanted = _with_delta(wanted)
        if settings.master:
            builder = builder.master(settings.master)
            wanted = _own(wanted, settings.master)
    for key, value in wanted.items():
        builder = builder.config(key, value)
    with _own_interrupts():
        return builder.getOrCreate()


@contextmanager
def _own_interrupts() -> Iterator[None]:
    """Ctrl-C stays what it was: PySpark's handler speaks to Spark amid another conversation."""
    handler = signal.getsignal(signal.SIGINT)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, handler)


def _with_delta(config: dict[str, str]) -> dict[str, str]:
    """The configuration with Delta's extension beside others, and its catalog unless one is set."""
    extensions = _joined(config.get(_EXTENSIONS, ""), _DELTA_EXTENSION, _DELTA_EXTENSION)
    return {_CATALOG: _DELTA_CATALOG, **config, _EXTENSIONS: extensions}


def _joined(given: str, ours: str, known_by: str) -> str:
    """The names with commas between them, and ours where none has in it what ours is known by."""
    names = [name for name in given.split(",") if name]
    return ",".join(names if any(known_by in name for name in names) else [*names, ours])


def _own(config: dict[str, str], master: str) -> dict[str, str]:
    """The configuration of a session that is all ours: Delta's jars, and a quiet log."""
    if master.startswith("local"):
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    own = dict(config)
    if not list(Path(pyspark.__file__).parent.glob("jars/*delta-spark*.jar")):
        own[_PACKAGES] = _joined(own.get(_PACKAGES, ""), _DELTA_PACKAGE, "delta-spark")
    quiet = resources.files("conf") / "log4j2.properties"
    if isinstance(quiet, Path):
        options = own.get(_DRIVER_OPTIONS, "")
        # Drivers of databases give times without a zone by way of the machine's: no hour is left
        # out in UTC.
        given = f"-Duser.timezone=UTC -Dlog4j2.configurationFile={quiet.resolve().as_uri()}"
        own[_DRIVER_OPTIONS] = f"{given} {options}"
    return own
