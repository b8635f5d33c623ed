"""Delta comes with every session, and takes nothing away that somebody asked for."""

import pyspark

from jobs.session import _DELTA_PACKAGE, _own, _with_delta

DELTA = "io.delta.sql.DeltaSparkSessionExtension"


def test_delta_is_set_where_nothing_is() -> None:
    assert _with_delta({}) == {
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.sql.extensions": DELTA,
    }


def test_delta_joins_the_extensions_that_were_submitted() -> None:
    assert _with_delta({"spark.sql.extensions": "org.Other"})["spark.sql.extensions"] == (
        f"org.Other,{DELTA}"
    )


def test_a_submitted_catalog_stays_and_delta_is_not_set_twice() -> None:
    submitted = {
        "spark.sql.extensions": f"{DELTA},org.Other",
        "spark.sql.catalog.spark_catalog": "org.Catalog",
        "spark.master": "spark://host:7077",
    }
    assert _with_delta(submitted) == submitted


def test_delta_is_fetched_beside_what_is_asked_for_where_it_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr(pyspark, "__file__", str(tmp_path / "__init__.py"))
    packages = "spark.jars.packages"
    postgres = "org.postgresql:postgresql:42.7.4"
    assert _own({}, "local")[packages] == _DELTA_PACKAGE
    assert _own({packages: postgres}, "local")[packages] == f"{postgres},{_DELTA_PACKAGE}"
    own = "io.delta:delta-spark_4.2_2.13:9.9.9"
    assert _own({packages: own}, "local")[packages] == own
