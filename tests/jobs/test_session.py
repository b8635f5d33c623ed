"""Delta comes with every session, and takes nothing away that somebody asked for."""

from jobs.session import _with_delta

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
