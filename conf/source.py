"""How a shop's data map onto the contracts: the model of `conf/sources/NAME.yml`.

The log itself fills `transactions`; the optional sections `events` and `customers` fill the tables
of these names.
"""

from typing import Annotated, Literal
from zoneinfo import available_timezones

import holidays
from pydantic import AfterValidator, Field, model_validator

from conf.errors import ConfigurationError
from conf.loading import OptionValue, Strict, find, validated

FILES = ("csv", "json", "text", "parquet", "orc")
READ_FROM_PATHS = (*FILES, "delta", "table")


def _time_zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError("not a time zone of the IANA database, such as Europe/London")
    return name


def _country(code: str | None) -> str | None:
    if code is not None and code not in holidays.list_supported_countries():
        raise ValueError("not a country of the package holidays, such as GB, US or TW")
    return code


TimeZone = Annotated[str, AfterValidator(_time_zone)]
# Whole hours: of half of one, the night on which clocks change has two or none.
Hour = Annotated[str, Field(pattern="^([01][0-9]|2[0-3]):00$")]
Country = Annotated[str | None, AfterValidator(_country)]


class Reader(Strict):
    """Spark's reader: `spark.read.format(format).options(**options)`, or a catalog table."""

    format: str = "csv"
    options: dict[str, OptionValue] = Field(default_factory=dict)


class Columns(Strict):
    """A Spark SQL expression over the source's own columns for each column of `transactions`."""

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


class EventColumns(Strict):
    """The same for each column of `events`."""

    customer_id: str
    happened_at: str
    kind: str
    session_id: str | None = None
    traffic_source: str | None = None
    product_id: str | None = None


class CustomerColumns(Strict):
    """The same for each column of `customers`."""

    customer_id: str
    valid_from: str
    valid_until: str | None = None
    birth_year: str | None = None
    gender: str | None = None
    location: str | None = None
    signed_up_on: str | None = None


class Mapping(Strict):
    """The rows for one table: how to read them, and what their columns mean."""

    reader: Reader = Reader()
    skip: str | None = None
    columns: Strict
    exact_duplicates: Literal["keep", "refuse"] = "keep"

    @property
    def expressions(self) -> dict[str, str | None]:
        """The SQL of each column of the table."""
        return self.columns.model_dump()

    @property
    def needs_path(self) -> bool:
        """Whether the reader must be told where the rows are."""
        return self.reader.format in READ_FROM_PATHS


class Events(Mapping):
    """What customers do beside ordering, for the table `events`."""

    columns: EventColumns


class Customers(Mapping):
    """What is known of customers and when it was valid, for the table `customers`.

    With `in_log` the rows of the log say it, by the log's reader; of rows that say the same of a
    customer's day, one is kept.
    """

    columns: CustomerColumns
    in_log: bool = False

    @model_validator(mode="after")
    def _read_as_the_log_is(self) -> "Customers":
        own = self.model_fields_set & {"reader", "skip", "exact_duplicates"}
        if self.in_log and own:
            raise ValueError(f"{min(own)} is the log's own where in_log is true; leave it out")
        return self


class Source(Mapping):
    """One shop: its log, and its time, money and calendar."""

    name: str = Field(min_length=1)
    columns: Columns
    kind: str = "'purchase'"
    time_zone: TimeZone
    day_starts_at: Hour = "00:00"
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")]
    country: Country = None
    events: Events | None = None
    customers: Customers | None = None

    @property
    def expressions(self) -> dict[str, str | None]:
        """The SQL of each column of `transactions`."""
        return {**self.columns.model_dump(), "kind": self.kind}

    def mapping(self, table: str) -> Mapping:
        """How the rows for `transactions`, `events` or `customers` are read.

        Raises ConfigurationError where the source has no section of that name.
        """
        found = {"events": self.events, "customers": self.customers}.get(table, self)
        if isinstance(found, Customers) and found.in_log:
            return found.model_copy(update={"reader": self.reader, "skip": self.skip})
        if found is None:
            raise ConfigurationError(
                f"--{table}: the source {self.name} has no section {table}, which says how these "
                "rows map onto the table; conf/sources/template.yml explains it"
            )
        return found


def load_source(name: str) -> Source:
    """The source file at a path, or the shipped one of that name.

    Raises ConfigurationError when it is absent or wrong.
    """
    return validated(Source, [find(name, "sources")])
