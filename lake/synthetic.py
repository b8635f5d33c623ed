"""A synthetic retail log whose true repeat probabilities are known.

Customers buy till they die: the Pareto/NBD process (Schmittlein, Morrison & Colombo 1987; Fader,
Hardie & Lee 2005), by whole days and with seasons. Each customer has a hidden purchase rate lambda
and a hidden dropout rate mu, both drawn from gamma distributions, and a first order on some day a.
From there on:

* they survive each night with the chance exp(-mu), so live to see day d with exp(-mu (d - a));
* on each day after a that they live to see they place Poisson(lambda s(d)) orders, where s(d) is
  the season of that day.

With S(d) = s(0) + ... + s(d), a customer whose last order was on day x orders next on day d with

    f(d) = exp(-mu (d - x)) exp(-lambda (S(d-1) - S(x))) (1 - exp(-lambda s(d))).

The probability of an order in the h days from T, given that none fell between x and T, is exactly

    (f(T) + ... + f(T+h-1)) / (1 - f(x+1) - ... - f(T-1)).

On a clock that shows S, the orders of a living customer are a plain Poisson process: they are
drawn on that clock, and a small broadcast calendar tells their days. Every draw is a hash of the
seed, its purpose and its keys, so that a log depends on its shop alone and never on partitions, and
no line is ever shuffled.
"""

import datetime as dt
import math
from dataclasses import dataclass
from itertools import accumulate

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

CATEGORIES = {  # percent of the lines, typical price of a piece
    "groceries": (16, 6.0),
    "clothing": (14, 35.0),
    "beauty": (11, 14.0),
    "home": (10, 28.0),
    "books": (9, 12.0),
    "toys": (8, 19.0),
    "sports": (7, 40.0),
    "shoes": (7, 60.0),
    "garden": (6, 24.0),
    "pets": (5, 16.0),
    "stationery": (4, 7.0),
    "electronics": (3, 120.0),
}
CATEGORY_PERCENTS = {category: percent for category, (percent, _) in CATEGORIES.items()}
PAYMENT_PERCENTS = {"card": 42, "paypal": 26, "invoice": 17, "cash": 11, "voucher": 4}
CHANNEL_PERCENTS = {"web": 50, "app": 30, "store": 20}
PRODUCTS_PER_CATEGORY = 200
MOST_LINES = 6
MOST_PIECES = 5
DAY = 86_400  # seconds


@dataclass(frozen=True)
class SyntheticShop:
    """The shop to simulate: its size, its seed and how its customers behave.

    Shapes are multiples of one half, since such a gamma number is an exact function of a few
    uniform ones. Strengths and shares are fractions. The methods below that return a column are
    draws: the same number, always, for the same seed, purpose and keys.
    """

    customers: int = 20_000
    days: int = 730
    seed: int = 1
    start: dt.date = dt.date(2023, 1, 1)

    purchase_shape: float = 1.5
    purchase_scale: float = 1 / 75  # orders per day of average season
    dropout_shape: float = 1.0
    dropout_scale: float = 1 / 600  # deaths per day
    acquisition_skew: float = 1.5  # 1 spreads first orders over the whole span, more hastens them

    weekly_strength: float = 0.25  # rise on Saturdays
    yearly_strength: float = 0.15  # rise at the start of December, fall half a year later
    holiday_strength: float = 0.40  # rise before Christmas, fall from its eve to New Year's Day

    another_line: float = 0.65  # share of lines followed by one more, up to MOST_LINES
    another_piece: float = 0.20  # share of pieces followed by one more, up to MOST_PIECES
    loyalty: float = 0.60  # share of choices that go to the customer's favourite
    discounted: float = 0.25  # share of orders at 5 to 30 percent off
    returned: float = 0.10  # share of orders of which one line or more comes back
    cancelled: float = 0.03  # share of orders cancelled on the same or the next day

    def __post_init__(self) -> None:
        """Refuse what cannot be simulated."""
        if self.customers < 1 or self.days < 1:
            raise ValueError(f"{self.customers} customers in {self.days} days: give at least 1.")
        strengths = (self.weekly_strength, self.yearly_strength, self.holiday_strength)
        if not all(0 <= strength < 1 for strength in strengths):
            raise ValueError(f"Strengths of {strengths} leave days without season; give 0 to <1.")
        for shape in (self.purchase_shape, self.dropout_shape):
            if shape <= 0 or not (2 * shape).is_integer():
                raise ValueError(f"No exact draw for a gamma shape of {shape}; give 0.5, 1, 1.5...")

    def season(self, date: dt.date) -> float:
        """How many average days this date is worth; about 1 in the mean over a year."""
        weekly = 1 + self.weekly_strength * math.cos(math.tau * (date.isoweekday() - 6) / 7)
        december = date.timetuple().tm_yday - 335
        yearly = 1 + self.yearly_strength * math.cos(math.tau * december / 365.25)
        return weekly * yearly * (1 + self.holiday_strength * _holiday(date))

    def clock(self, days: int) -> list[float]:
        """The season's clock at the opening of day 0, 1, ... and at the close of the last day."""
        dates = (self.start + dt.timedelta(days=day) for day in range(days))
        return list(accumulate(map(self.season, dates), initial=0.0))

    def uniform(self, purpose: str, *keys: str | Column) -> Column:
        """A number strictly between 0 and 1."""
        bits = F.shiftrightunsigned(F.xxhash64(F.lit(self.seed), F.lit(purpose), *keys), 12)
        return (bits + 0.5) * 2.0**-52

    def exponential(self, purpose: str, *keys: str | Column) -> Column:
        """A positive number of mean 1."""
        return -F.log(self.uniform(purpose, *keys))

    def gamma(self, shape: float, purpose: str, *keys: str | Column) -> Column:
        """A gamma number of scale 1: exponentials, and half a squared normal for half a shape."""
        wholes, halves = divmod(round(2 * shape), 2)
        total = F.lit(0.0)
        for whole in range(wholes):
            total += self.exponential(f"{purpose} {whole}", *keys)
        for _ in range(halves):
            cosine = F.cos(self.uniform(f"{purpose} angle", *keys) * math.tau)
            total += self.exponential(f"{purpose} half", *keys) * cosine * cosine
        return total

    def count(self, another: float, most: int, purpose: str, *keys: str | Column) -> Column:
        """A number from 1 to `most`, each further one being reached with the chance `another`."""
        number = self.uniform(purpose, *keys)
        return sum(((number < another**k).cast("int") for k in range(1, most)), F.lit(1))

    def choice(self, percents: dict[str, int], purpose: str, *keys: str | Column) -> Column:
        """A name drawn by its percent; or, as often as loyalty says, the customer's favourite."""
        favourite = self.uniform(f"favourite {purpose}", "customer")
        other = self.uniform(f"other {purpose}", *keys)
        loyal = self.uniform(f"loyal {purpose}", *keys) < self.loyalty
        hundred = ",".join(name for name, percent in percents.items() for _ in range(percent))
        place = F.ceil(F.when(loyal, favourite).otherwise(other) * 100)
        return F.element_at(F.split(F.lit(hundred), ","), place.cast("int"))

    def time_of_day(self, purpose: str, *keys: str | Column) -> Column:
        """A second between 8 and 22 o'clock, mostly in the afternoon."""
        middling = self.uniform(f"{purpose} hour", *keys) + self.uniform(f"{purpose} time", *keys)
        return F.floor((8 + 7 * middling) * 3600)


def synthetic_log(spark: SparkSession, shop: SyntheticShop) -> DataFrame:
    """One row per line of a purchase, a return or a cancellation.

    Columns: customer_id; order_id and line_number, together unique; ordered_at, the wall clock of
    the purchase, return or cancellation; kind (purchase, return, cancelled); product_id; category;
    quantity in pieces; unit_price per piece; discount off the line; amount after the discount;
    payment_method and channel of the purchase. Money has 2 decimals; only amount is signed, and
    negative unless the kind is purchase.

    A return takes back the first lines of an order, or all, 1 to 30 days later; a cancellation
    takes back all on the same or the next day. The purchase stays in the log, and its reversal,
    unless it would fall after the last day, bears the same number with R or X for O.
    """
    documents = _documents(shop, _orders(shop, _calendar(spark, shop.clock(shop.days))))
    numbered = documents.withColumn("line_number", F.explode(F.sequence(F.lit(1), "lines")))
    gross = (F.col("quantity") * F.col("unit_price")).cast("decimal(12,2)")
    discount = F.round(gross * F.col("discount_rate"), 2).cast("decimal(12,2)")
    sign = F.when(F.col("kind") == "purchase", 1).otherwise(-1)
    return _goods(shop, numbered).select(
        "customer_id",
        "order_id",
        "line_number",
        "ordered_at",
        "kind",
        "product_id",
        "category",
        "quantity",
        "unit_price",
        discount.alias("discount"),
        (sign * (gross - discount)).cast("decimal(12,2)").alias("amount"),
        "payment_method",
        "channel",
    )


def true_probabilities(
    spark: SparkSession, shop: SyntheticShop, as_of: dt.date, horizon_days: int = 30
) -> DataFrame:
    """One row per customer who ordered before `as_of`: how likely they order from it on.

    Columns: customer_id, as_of, horizon_days, probability. The probability is that of one purchase
    or more in the `horizon_days` days from `as_of`, given the hidden rates and all purchases before
    `as_of`, but not the hidden day of dropout, by the formula above. No model can do better.
    """
    today = (as_of - shop.start).days
    if not (0 <= today <= shop.days and horizon_days > 0):
        raise ValueError(
            f"{horizon_days} days from {as_of} have no truth in a log of {shop.days} days from "
            f"{shop.start}; give a date within it or just after it, and 1 day or more."
        )
    clock = shop.clock(max(shop.days, today + horizon_days))
    calendar = _calendar(spark, clock)
    last_orders = _last_orders(_histories(shop, calendar), calendar, clock[today])
    next_orders = _next_orders(last_orders, calendar.where(F.col("day") < today + horizon_days))
    chances = next_orders.groupBy("customer").agg(
        F.sum(F.when(F.col("day") < today, F.col("chance")).otherwise(0.0)).alias("before"),
        F.sum(F.when(F.col("day") >= today, F.col("chance")).otherwise(0.0)).alias("within"),
    )
    return chances.select(
        _customer_id(),
        F.lit(as_of).alias("as_of"),
        F.lit(horizon_days).alias("horizon_days"),
        F.least(F.lit(1.0), F.col("within") / (1 - F.col("before"))).alias("probability"),
    )


def _histories(shop: SyntheticShop, calendar: DataFrame) -> DataFrame:
    """One row per customer: their hidden rates and the `moments` of their orders on the clock."""
    purchase_rate = shop.gamma(shop.purchase_shape, "purchase rate", "id") * shop.purchase_scale
    dropout_rate = shop.gamma(shop.dropout_shape, "dropout rate", "id") * shop.dropout_scale
    arrival = F.pow(shop.uniform("arrival", "id"), F.lit(shop.acquisition_skew))
    customers = calendar.sparkSession.range(shop.customers).select(
        F.col("id").alias("customer"),
        purchase_rate.alias("purchase_rate"),
        dropout_rate.alias("dropout_rate"),
        (arrival * shop.clock(shop.days)[-1]).alias("moment"),
    )
    nights = shop.exponential("lifetime", "customer") / F.col("dropout_rate")
    last_day = F.floor(F.least(F.col("day") + nights, F.lit(shop.days - 1.0)))
    lives = (
        _on_calendar(customers, calendar)
        .select("customer", "purchase_rate", "dropout_rate", last_day.alias("last_day"), "closing")
        .withColumnRenamed("closing", "first_moment")
    )
    last_moments = calendar.selectExpr("day AS last_day", "closing AS last_moment")
    return lives.join(F.broadcast(last_moments), how="inner", on="last_day").select(
        "customer", "purchase_rate", "dropout_rate", _moments(shop).alias("moments")
    )


def _moments(shop: SyntheticShop) -> Column:
    """The first moment and, in order, those of a Poisson process from there to the last one."""
    expected = F.col("purchase_rate") * (F.col("last_moment") - F.col("first_moment"))
    # A Poisson number exceeds this with a chance below 1e-15, whatever it expects.
    enough = F.ceil(expected + 8 * F.sqrt(expected) + 12)

    def with_next(moments: Column, number: Column) -> Column:
        latest = F.element_at(moments, -1)
        gap = shop.exponential("gap", "customer", number) / F.col("purchase_rate")
        over = latest > F.col("last_moment")
        return F.when(over, moments).otherwise(F.concat(moments, F.array(latest + gap)))

    moments = F.aggregate(F.sequence(F.lit(1), enough), F.array("first_moment"), with_next)
    return F.filter(moments, lambda moment: moment <= F.col("last_moment"))


def _last_orders(histories: DataFrame, calendar: DataFrame, now: float) -> DataFrame:
    """One row per customer who ordered by `now`: their rates, the day and its closing moment."""
    past = F.filter("moments", lambda moment: moment <= now)
    last_moments = histories.withColumn("moment", F.array_max(past)).where("moment IS NOT NULL")
    return _on_calendar(last_moments, calendar).selectExpr(
        "customer", "purchase_rate", "dropout_rate", "day AS last_day", "closing AS last_moment"
    )


def _next_orders(last_orders: DataFrame, calendar: DataFrame) -> DataFrame:
    """One row per customer and day after their last order: the `chance` f that they order next."""
    alive = F.exp(-F.col("dropout_rate") * (F.col("day") - F.col("last_day")))
    silent = F.exp(-F.col("purchase_rate") * (F.col("opening") - F.col("last_moment")))
    ordering = 1 - F.exp(-F.col("purchase_rate") * (F.col("closing") - F.col("opening")))
    return last_orders.join(
        F.broadcast(calendar), how="inner", on=F.col("day") > F.col("last_day")
    ).select("customer", "day", (alive * silent * ordering).alias("chance"))


def _orders(shop: SyntheticShop, calendar: DataFrame) -> DataFrame:
    """One row per order, numbered from 0 for each customer."""
    order = ("customer", "order_number")
    moments = _histories(shop, calendar).select(
        "customer", F.posexplode_outer("moments").alias("order_number", "moment")
    )
    dated = _on_calendar(moments, calendar)
    rate = F.ceil(6 * shop.uniform("discount rate", *order)) * F.lit(0.05)
    is_discounted = shop.uniform("discount", *order) < shop.discounted
    payment_method = shop.choice(PAYMENT_PERCENTS, "payment method", *order)
    channel = shop.choice(CHANNEL_PERCENTS, "channel", *order)
    return dated.select(
        *order,
        (F.col("day") * DAY + shop.time_of_day("purchase", *order)).alias("second"),
        shop.count(shop.another_line, MOST_LINES, "lines", *order).alias("lines"),
        F.when(is_discounted, rate).otherwise(0.0).cast("decimal(3,2)").alias("discount_rate"),
        payment_method.alias("payment_method"),
        F.when(payment_method == "cash", "store").otherwise(channel).alias("channel"),
    )


def _documents(shop: SyntheticShop, orders: DataFrame) -> DataFrame:
    """One row per purchase, return or cancellation, with its own id, time and number of lines."""
    order = ("customer", "order_number")
    fate = shop.uniform("fate", *order)
    given_back = F.when(fate > 1 - shop.returned, "return")
    reversal = F.when(fate < shop.cancelled, "cancelled").otherwise(given_back)
    kinds = F.array_compact(F.array(F.lit("purchase"), reversal))
    documents = orders.withColumn("kind", F.explode(kinds))
    kind, lines = F.col("kind"), F.col("lines")
    letter = F.when(kind == "return", "R").when(kind == "cancelled", "X").otherwise("O")
    returned_lines = F.ceil(lines * shop.uniform("returned lines", *order)).cast("int")
    timed = documents.withColumns(
        {
            "customer_id": _customer_id(),
            "order_id": F.format_string("%s%07d-%04d", letter, *order),
            "second": _document_second(shop),
            "lines": F.when(kind == "return", returned_lines).otherwise(lines),
        }
    )
    opening = F.lit(shop.start).cast("timestamp_ntz")
    ordered_at = F.timestamp_add("SECOND", F.col("second"), opening)
    return timed.where(F.col("second") < shop.days * DAY).withColumn("ordered_at", ordered_at)


def _document_second(shop: SyntheticShop) -> Column:
    """Seconds from the start to the document, from the `second` of its order."""
    order = ("customer", "order_number")
    kind, second = F.col("kind"), F.col("second")
    day = F.floor(second / DAY)
    day_of_return = day + F.ceil(30 * shop.uniform("day of return", *order))
    returned = day_of_return * DAY + shop.time_of_day("return", *order)
    end_of_next_day = (day + 2) * DAY
    patience = F.floor((end_of_next_day - second) * shop.uniform("patience", *order))
    cancelled = second + patience
    return F.when(kind == "return", returned).when(kind == "cancelled", cancelled).otherwise(second)


def _goods(shop: SyntheticShop, lines: DataFrame) -> DataFrame:
    """The lines with what was bought; a line and its reversal share their draws."""
    line = ("customer", "order_number", "line_number")
    categories = lines.withColumn("category", shop.choice(CATEGORY_PERCENTS, "category", *line))
    popularity = F.pow(shop.uniform("product", *line), F.lit(2.0))
    product = F.concat("category", F.lit("-"), F.floor(popularity * PRODUCTS_PER_CATEGORY))
    products = categories.withColumn("product_id", product)
    prices = [F.lit(value) for name, (_, price) in CATEGORIES.items() for value in (name, price)]
    typical_price = F.create_map(*prices)[F.col("category")]
    price = typical_price * F.pow(F.lit(4.0), shop.uniform("price", "product_id") - 0.5)
    return products.withColumns(
        {
            "quantity": shop.count(shop.another_piece, MOST_PIECES, "quantity", *line),
            "unit_price": F.round(price, 2).cast("decimal(12,2)"),
        }
    )


def _customer_id() -> Column:
    return F.format_string("C%07d", "customer").alias("customer_id")


def _calendar(spark: SparkSession, clock: list[float]) -> DataFrame:
    """One row per day from 0: the season's clock at its opening and at its closing."""
    moments, day = F.lit(clock), F.col("id").cast("int")
    return spark.range(len(clock) - 1).select(
        day.alias("day"), moments[day].alias("opening"), moments[day + 1].alias("closing")
    )


def _on_calendar(rows: DataFrame, calendar: DataFrame) -> DataFrame:
    """The rows with the day whose `opening` lies before their `moment`, and `closing` not."""
    ticks = F.sequence(F.floor("opening"), F.floor("closing"))
    days_by_tick = F.broadcast(calendar.withColumn("tick", F.explode(ticks)))
    return (
        rows.withColumn("tick", F.floor("moment"))
        .join(days_by_tick, how="inner", on="tick")
        .where("opening < moment AND moment <= closing")
        .drop("tick")
    )


def _holiday(date: dt.date) -> int:
    """1 in the weeks before Christmas, -1 from its eve to New Year's Day, else 0."""
    day = (date.month, date.day)
    if (11, 20) <= day <= (12, 23):
        return 1
    return -1 if day >= (12, 24) or day == (1, 1) else 0
