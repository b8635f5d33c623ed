"""Put the Delta jars beside Spark's own, so that every session and cluster of this environment
has them without asking Maven Central again.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyspark
from delta import configure_spark_with_delta_pip
from pyspark.sql import SparkSession

# The others that Delta asks for are in Spark's distribution already.
NOT_IN_SPARK = ("io.delta_", "io.unitycatalog_")


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back what Ivy writes about every artefact, unless it fails."""
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(terminal, held.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


def fetch(jars: Path) -> list[str]:
    """The names of the jars copied into the folder."""
    with tempfile.TemporaryDirectory() as ivy:
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        builder = SparkSession.builder.master("local[1]").config("spark.jars.ivy", ivy)
        configure_spark_with_delta_pip(builder).getOrCreate().stop()
        wanted = [j for j in Path(ivy, "jars").glob("*.jar") if j.name.startswith(NOT_IN_SPARK)]
        return [Path(shutil.copy(jar, jars)).name for jar in wanted]


if __name__ == "__main__":
    folder = Path(pyspark.__file__).parent / "jars"
    if not list(folder.glob("*delta-spark*.jar")):
        with quiet():
            fetched = fetch(folder)
        print(f"fetched {len(fetched)} Delta jars from Maven Central")
