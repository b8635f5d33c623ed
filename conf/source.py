"""How one log maps onto the `transactions` contract: the model of `conf/sources/NAME.yml`."""

from typing import Annotated, Literal
from zoneinfo import available_timezones

import holidays
from pydantic import AfterValidator, Field

from conf.loading import OptionValue, Strict, find, validated

REQUIRED = ("customer_id", "ordered_at", "amount")
OPTIONAL = (
    "order_id",
    "quantity",
    "discount",
    "product_id",
    "category",
    "payment_method",
    "channel",
)


def _time_zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError("not a time zone of the IANA database, such as Europe/London")
    return name


def _country(code: str | None) -> str | None:
    if code is not None and code not in holidays.list_supported_countries():
        raise ValueError("not a country of the package holidays, such as GB, US or TW")
    return code


TimeZone = Annotated[str, AfterValidator(_time_zone)]
Country = Annotated[str | None, AfterValidator(_country)]


class Reader(Strict):
    """Spark's reader: `spark.read.format(format).options(**options)`, or a catalog table."""

    format: str = "csv"
    options: dict[str, OptionValue] = Field(default_factory=dict)


class Columns(Strict):
    """A Spark SQL expression over the source's own columns for each column of the contract."""

    customer_id: str
    ordered_at: str
    amount: str
    order_id: str | None = None
    quantity: str | None = None
    discount: str | None = None
    product_id: str | None = None
    category: str | None = None
    payment_method: str | None = None
    channel: str | None = None


class Source(Strict):
    """One log: how to read it, what its columns mean, and its time, money and calendar."""

    name: str = Field(min_length=1)
    reader: Reader = Reader()
    skip: str | None = None
    columns: Columns
    kind: str = "'purchase'"
    time_zone: TimeZone
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")]
    country: Country = None
    exact_duplicates: Literal["keep", "refuse"] = "keep"


def load_source(name: str) -> Source:
    """The source file at a path, or the shipped one of that name.

    Raises ConfigurationError when it is absent or wrong.
    """
    return validated(Source, [find(name, "sources")])
