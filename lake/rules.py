"""The rules of each ingested table: what its columns are made of, and when a row is refused."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from conf.source import Mapping

KINDS = ("purchase", "return", "cancelled")
FIRST_BIRTH_YEAR = 1850
# Of a line, where there are any.
TEXTS = ("product_id", "category", "payment_method", "channel")
BLANKS = " \t\r\n\u00a0\u200b\u3000\ufeff"

Check = tuple[Column, str]


@dataclass(frozen=True)
class Limits:
    """What a line must fulfil beside its types: money (source's currency), units and days."""

    max_amount: float
    max_quantity: float
    first_day: date
    last_day: date


@dataclass(frozen=True)
class Rules:
    """How the source's values become the columns of a table.

    `days` has the columns that are moments, and the column of the business day of each. `typed`
    gets these, the moments also as they came in `_raw_NAME`, and the source's other expressions as
    text. `checks` are what refuses a row, with the reason; `due_on` is the business day before
    which it is refused for being too early.
    """

    days: dict[str, str]
    typed: Callable[[DataFrame, Mapping], DataFrame]
    checks: Callable[[Limits], list[Check]]
    due_on: str | None = None


def blank(column: str) -> Column:
    """Whether a text is null or nothing but blanks."""
    return F.col(column).isNull() | (F.btrim(F.col(column), F.lit(BLANKS)) == "")


def _named(*columns: str) -> dict[str, Column]:
    """The texts, null where they are nothing but blanks."""
    return {column: F.when(~blank(column), F.col(column)) for column in columns}


def _transactions(parsed: DataFrame, mapping: Mapping) -> DataFrame:
    purchase = F.col("kind") == "purchase"
    typed = parsed.withColumns(
        {
            **_named(*TEXTS),
            "kind": F.lower(F.trim("kind")),
            "_amount": F.col("amount").try_cast("decimal(38,6)"),
            "_amount_double": F.col("amount").try_cast("double"),
            "_raw_quantity": F.col("quantity"),
            "_raw_discount": F.col("discount"),
            "discount": F.abs(F.col("discount").try_cast("decimal(18,2)")),
        }
    )
    signed = F.when(purchase, F.col("_amount")).otherwise(-F.abs("_amount"))
    units = F.abs(F.col("_raw_quantity").try_cast("decimal(18,3)"))
    # Of rows that have neither, the check would blame an order_id that the log does not have.
    parts = [F.coalesce(F.col(n).cast("string"), F.lit("")) for n in ("customer_id", "ordered_on")]
    own_order = F.concat(parts[0], F.lit("|"), parts[1])
    has_orders = mapping.expressions["order_id"] is not None
    return typed.withColumns(
        {
            "amount": signed.try_cast("decimal(18,2)"),
            "quantity": units * F.when(purchase, F.lit(1)).otherwise(F.lit(-1)),
            "order_id": F.col("order_id") if has_orders else own_order,
        }
    )


def _transaction_checks(limits: Limits) -> list[Check]:
    money, kind = F.col("_amount_double"), F.col("kind")
    size = F.abs(money)  # NaN is above every number, also above infinity
    usable = size <= limits.max_amount
    return [
        (blank("order_id"), "order_id is missing"),
        *_dated("ordered_at", "ordered_on", limits),
        (
            money.isNull() | F.isnan(money) | (usable & F.col("amount").isNull()),
            "amount is missing or not a number",
        ),
        (size == float("inf"), "amount is infinite"),
        (~usable & (size < float("inf")), "amount is above max_amount"),
        (kind.isNull() | ~kind.isin(*KINDS), "kind is none of " + ", ".join(KINDS)),
        ((kind == "purchase") & (money < 0), "a purchase has a negative amount"),
        *_limited("quantity", limits.max_quantity, "max_quantity"),
        *_limited("discount", limits.max_amount, "max_amount"),
    ]


def _limited(column: str, most: float, limit: str) -> list[Check]:
    """What is not blank is a number, of no more than the limit."""
    raw = f"_raw_{column}"
    size = F.nanvl(F.abs(F.col(raw).try_cast("double")), F.lit(None).cast("double"))
    above = F.coalesce(size > most, F.lit(False))
    return [
        (
            ~blank(raw) & ~above & (size.isNull() | F.col(column).isNull()),
            f"{column} is not a number",
        ),
        (above, f"{column} is above {limit}"),
    ]


def _events(parsed: DataFrame, _: Mapping) -> DataFrame:
    return parsed.withColumns(
        {
            "kind": F.lower(F.trim("kind")),
            **_named("session_id"),
            "traffic_source": F.when(~blank("traffic_source"), F.lower(F.trim("traffic_source"))),
        }
    )


def _event_checks(limits: Limits) -> list[Check]:
    return [*_dated("happened_at", "happened_on", limits), (blank("kind"), "kind is missing")]


def _customers(parsed: DataFrame, _: Mapping) -> DataFrame:
    return parsed.withColumns(
        {
            **_named("gender", "location"),
            "_raw_birth_year": F.col("birth_year"),
            "birth_year": F.col("birth_year").try_cast("double").try_cast("int"),
        }
    )


def _customer_checks(limits: Limits) -> list[Check]:
    year = F.col("birth_year")
    plausible = year.between(FIRST_BIRTH_YEAR, limits.last_day.year)
    return [
        (F.col("valid_from").isNull(), "valid_from is missing or not a date"),
        (
            ~blank("_raw_valid_until") & F.col("valid_until").isNull(),
            "valid_until is not a date",
        ),
        (F.col("valid_until") <= F.col("valid_from"), "valid_until is not after valid_from"),
        (
            ~blank("_raw_birth_year") & ~F.coalesce(plausible, F.lit(False)),
            f"birth_year is no year from {FIRST_BIRTH_YEAR} on",
        ),
        (
            ~blank("_raw_signed_up_on") & F.col("signed_up_on").isNull(),
            "signed_up_on is not a date",
        ),
    ]


def _dated(moment: str, day: str, limits: Limits) -> list[Check]:
    return [
        (F.col(moment).isNull(), f"{moment} is missing or not a date"),
        (F.col(day) < F.lit(limits.first_day), f"{moment} is before the first day allowed"),
        (F.col(day) > F.lit(limits.last_day), f"{moment} is after the last day allowed"),
    ]


RULES = {
    "transactions": Rules(
        {"ordered_at": "ordered_on"}, _transactions, _transaction_checks, "ordered_on"
    ),
    "events": Rules({"happened_at": "happened_on"}, _events, _event_checks, "happened_on"),
    "customers": Rules(
        {
            "valid_from": "valid_from_day",
            "valid_until": "valid_until_day",
            "signed_up_on": "signed_up_on",
        },
        _customers,
        _customer_checks,
    ),
}
