"""Buy-till-you-die models: what a customer's order days say of the days to come.

A customer orders at a rate of their own until they drop out, which nobody sees. Rates and dropout
vary between customers as the parameters of a model say, which are fitted to all customers
(`features.likelihood`). A customer's history then says how probable it is that they are still
there, and how much they will order.

Histories and parameters are numbers, arrays or Spark columns, in any mixture: one formula serves
the driver and the query, and parameters may differ by row, as they do between as-of dates.

Batislam, Denizel and Filiztekin (2007), Empirical validation and comparison of models for customer
base analysis. Fader and Hardie (2005), A note on deriving the Pareto/NBD model; (2013), The
Gamma-Gamma model of monetary value. Fader, Hardie and Lee (2005), "Counting your customers" the
easy way. Reutterer, Platzer and Schroeder (2021), Leveraging purchase regularity for predicting
customer behavior the easy way. Schmittlein, Morrison and Colombo (1987), Counting your customers.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, ClassVar, TypeVar

import numpy as np
from pyspark.sql import Column
from pyspark.sql import functions as F

# A number, an array of them, or a Spark column of them.
Value = Any
Kind = TypeVar("Kind", bound="Model")
Nodes = Sequence[tuple[float, ...]]
Step = Callable[..., tuple[Value, Value]]

# Gauss and Legendre's nodes and weights on [0, 1], for integrals over a time without an order.
TIMES = tuple(
    ((1 + float(node)) / 2, float(weight) / 2)
    for node, weight in zip(*np.polynomial.legendre.leggauss(16), strict=True)
)
# Where the chance of silence has fallen to exp(-DEEP), the rest of such an integral is nothing.
DEEP = 30.0
# Nodes of the trapezoidal rule for means over the chance to drop out, with exp of each and of its
# negative.
_STEPS = tuple((float(t), math.exp(t), math.exp(-t)) for t in np.linspace(-3.5, 3.5, 24))
# Up to so many rows, all nodes at once take no longer than one.
FEW = 64
# The likelihood of what never happens is exp(-NEVER), which is not 0.
_NEVER = 700.0
# Chances to drop out are taken no nearer to 0 and 1 than this, where a difference would be noise.
_NEAREST = 1e-6


@dataclass(frozen=True)
class History:
    """x, t_x and T: when a customer has ordered.

    `repeats` are the days with an order after the first such day, `first_to_last` the days from the
    first of them to the last, and `tenure` the days from the first of them to `as_of`.
    """

    repeats: Value
    first_to_last: Value
    tenure: Value


@dataclass(frozen=True)
class Model:
    """A model with its parameters, in days and in the log's currency."""

    @classmethod
    def parameters(cls) -> list[str]:
        """The names of what is fitted."""
        return [field.name for field in fields(cls) if field.name != "k"]

    @classmethod
    def of_columns(cls: type[Kind], prefix: str = "", **fixed: int) -> Kind:
        """The model whose parameters are columns, such as `<prefix>alpha`."""
        return cls(**{name: F.col(prefix + name) for name in cls.parameters()}, **fixed)

    def _functions(self, *values: Value) -> Any:
        rows = 0
        for value in (*vars(self).values(), *values):
            if isinstance(value, np.ndarray):
                rows = max(rows, value.size if value.ndim else 0)
            elif isinstance(value, Column):
                return _OnColumns
        return _OnFewRows if 0 < rows <= FEW else _OnArrays


@dataclass(frozen=True)
class PurchaseModel(Model):
    """A model of the days on which customers order."""

    def p_alive(self, history: History) -> Value:
        """The probability that the customer has not dropped out."""
        alive, gone = self._alive_and_gone(history)
        return alive / (alive + gone)

    def p_order(self, history: History, days: float) -> Value:
        """The probability of at least one order in the `days` days from `as_of`."""
        return self.p_alive(history) * self.p_order_if_alive(history, days)

    def p_order_if_alive(self, history: History, days: float) -> Value:
        """The same of a customer who is alive at `as_of`."""
        return 1 - self._p_silence(history, days)

    def expected_orders(self, history: History, days: float) -> Value:
        """How many of the `days` days from `as_of` are expected to have an order."""
        return self.p_alive(history) * self.orders_if_alive(history, [(days, 1.0)])

    def discounted_orders(
        self, history: History, *, periods: int, period_days: float, discount: float
    ) -> Value:
        """The days with an order that are expected in `periods` periods of `period_days` days,
        those of the n-th divided by (1 + discount)^n.

        Times the expected spend on such a day, this is the value of the customer over that time.
        """
        ends = discounted_ends(periods=periods, period_days=period_days, discount=discount)
        return self.p_alive(history) * self.orders_if_alive(history, ends)

    @abstractmethod
    def orders_if_alive(self, history: History, ends: Sequence[tuple[float, float]]) -> Value:
        """The days with an order expected of a customer who is alive at `as_of`: up to each end, in
        days, times the factor of that end, summed.
        """

    @abstractmethod
    def _alive_and_gone(self, history: History) -> tuple[Value, Value]:
        """The likelihoods of no order from the last one to `as_of`, for a customer who is still
        alive and for one who is not, in the same units; never both 0.
        """

    @abstractmethod
    def _p_silence(self, history: History, days: float) -> Value:
        """The probability of no order in these days, of a customer who is alive at `as_of`."""


@dataclass(frozen=True)
class BetaGeometric(PurchaseModel):
    """Rates are Gamma(r, alpha); the chance to drop out after an order is Beta(a, b).

    With a regularity of k, the gaps between orders are Erlang-k instead of exponential: an order is
    every k-th step of a customer whose steps come at that rate.
    """

    r: Value
    alpha: Value
    a: Value
    b: Value
    k: int = 1
    # 1 where the first order too may be the last, else 0.
    after_first: ClassVar[int]

    def _alive_and_gone(self, history: History) -> tuple[Value, Value]:
        fn = self._functions(*vars(history).values())
        since = history.tenure - history.first_to_last
        shape, at_last = self._shape(history), self.alpha + history.first_to_last
        silent = fn.exp(-fn.least(shape * fn.log1p(since / at_last), _NEVER))
        alive = sum(self._steps(history, 0)) * silent
        chances = history.repeats + self.after_first
        any_chance = fn.least(chances, 1)
        return alive, any_chance * self.a / (self.b + chances - any_chance)

    def _p_silence(self, history: History, days: float) -> Value:
        fn = self._functions(*vars(history).values())
        longer = fn.exp(-self._shape(history) * fn.log1p(days / (self.alpha + history.tenure)))
        return longer * sum(self._steps(history, days)) / sum(self._steps(history, 0))

    def orders_if_alive(self, history: History, ends: Sequence[tuple[float, float]]) -> Value:
        """E[(1 - E[(1 - p)^n]) / p], n being the orders of a customer who never drops out.

        It is equation 10 of Fader, Hardie and Lee (2005) as an integral over p, without gamma and
        hypergeometric functions, and without a singularity at a = 1.
        """
        fn = self._functions(*vars(history).values())

        def until_dropout(p: Value, shape: Value, known: Value, *steps: Value) -> Value:
            def dropped(days: float, factor: float) -> Value:
                return factor * self._p_dropped(fn, steps, shape, p, days / known)

            return fn.total(ends, dropped, p, known) / p

        b = self.b + history.repeats + self.after_first
        given = [self._shape(history), self.alpha + history.tenure, *self._steps(history, 0)]
        return _mean_over_beta(fn, self.a, b, until_dropout, given)

    def _shape(self, history: History) -> Value:
        return self.r + self.k * history.repeats

    def _steps(self, history: History, days: float) -> list[Value]:
        """The weights of 0 to k - 1 steps from the last order to `days` days after `as_of`, of a
        customer who is silent until then.
        """
        if self.k == 1:
            return [1.0]
        since = history.tenure - history.first_to_last + days
        share, shape = since / (self.alpha + history.tenure + days), self._shape(history)
        weights: list[Value] = [1.0]
        for step in range(1, self.k):
            weights.append(weights[-1] * (shape + step - 1) * share / step)
        return weights

    def _p_dropped(
        self, fn: Any, steps: Sequence[Value], shape: Value, p: Value, time: Value
    ) -> Value:
        """1 - E[(1 - p)^n], n being the orders in this time of a customer who never drops out.

        With k > 1, n is floor((done + N) / k), with N steps to come: negative binomial. The power
        of a floor is a sum over the k-th roots of unity, here of their real parts.
        """
        if self.k == 1:
            return -fn.expm1(-shape * fn.log1p(p * time))

        def kept(root: Value) -> Value:
            turns = [2 * math.pi * turn / self.k for turn in range(self.k)]
            return sum(of_turn(root, angle) for angle in turns) / (self.k * sum(steps))

        def of_turn(root: Value, angle: float) -> Value:
            def of_polar(size: Value, turned: Value) -> Value:
                terms = [
                    weight
                    * fn.exp(-(shape + done) / 2 * size)
                    * fn.cos((shape + done) * turned + angle * back)
                    * root**back
                    for done, weight in enumerate(steps)
                    for back in range(done - self.k + 1, done + 1)
                ]
                return sum(terms)

            real = 1 + time * (1 - root * math.cos(angle))
            imaginary = time * root * math.sin(angle)
            size = fn.log(real * real + imaginary * imaginary)
            return fn.let(of_polar, size, fn.atan2(imaginary, real))

        return 1 - fn.let(kept, fn.exp(fn.log1p(-p) / self.k))


@dataclass(frozen=True)
class BgNbd(BetaGeometric):
    """BG/NBD (Fader, Hardie and Lee 2005): nobody drops out before a second order day.

    With k > 1 BG/CNBD-k (Reutterer, Platzer and Schroeder 2021).
    """

    after_first = 0


@dataclass(frozen=True)
class MbgNbd(BetaGeometric):
    """MBG/NBD (Batislam, Denizel and Filiztekin 2007): the first order too may be the last.

    With k > 1 MBG/CNBD-k (Reutterer, Platzer and Schroeder 2021).
    """

    after_first = 1


@dataclass(frozen=True)
class ParetoNbd(PurchaseModel):
    """Pareto/NBD (Schmittlein, Morrison and Colombo 1987): rates are Gamma(r, alpha), and lifetimes
    exponential with a rate that is Gamma(s, beta).
    """

    r: Value
    alpha: Value
    s: Value
    beta: Value

    def _alive_and_gone(self, history: History) -> tuple[Value, Value]:
        since = history.tenure - history.first_to_last
        return self._silent_from(history.first_to_last, since, history.repeats)

    def _p_silence(self, history: History, days: float) -> Value:
        return sum(self._silent_from(history.tenure, days, history.repeats))

    def orders_if_alive(self, history: History, ends: Sequence[tuple[float, float]]) -> Value:
        """Equation 41 of Fader and Hardie (2005), without P(alive)."""
        fn = self._functions(*vars(history).values())
        known = self.beta + history.tenure
        # At s = 1 there is a limit, to which 1e-12 is near enough.
        power = self.s - 1 + 1e-12
        gone = [-factor * fn.expm1(-power * fn.log1p(days / known)) for days, factor in ends]
        rate = (self.r + history.repeats) / (self.alpha + history.tenure)
        return rate * known / power * sum(gone)

    def _silent_from(self, start: Value, days: Value, repeats: Value) -> tuple[Value, Value]:
        """Of a customer alive at `start`, the probabilities of `days` days of silence at whose end
        they are alive, and of silence in which they drop out.

        The second is the integral over the time t after `start`, on a logarithmic scale, of
        s / (beta' + t) (1 + t / alpha')^-(r + x) (1 + t / beta')^-s; alpha' is alpha + start, and
        beta' beta + start.
        """
        fn = self._functions(start, days, repeats)

        def silent(time: Value, shape: Value, alpha: Value, s: Value, beta: Value) -> Value:
            return fn.exp(-shape * fn.log1p(time / alpha) - s * fn.log1p(time / beta))

        def gone(
            shape: Value, alpha: Value, s: Value, beta: Value, scale: Value, length: Value
        ) -> Value:
            def timed(place: Value, weight: Value) -> tuple[Value, Value]:
                return weight, scale * fn.expm1(length * place)

            def valued(weight: Value, time: Value) -> tuple[Value, Value]:
                density = silent(time, shape, alpha, s, beta) / (beta + time)
                return weight, density * (scale + time)

            return s * length * fn.mean(TIMES, timed, valued)

        given = self.r + repeats, self.alpha + start, self.s, self.beta + start
        shape, alpha, s, beta = given
        reach = fn.least(
            alpha * fn.expm1(fn.least(fn.log1p(days / alpha), DEEP / shape)),
            beta * fn.expm1(fn.least(fn.log1p(days / beta), DEEP / s)),
        )
        scale = alpha * beta / (alpha + beta)
        dropped = fn.let(gone, *given, scale, fn.log1p(reach / scale))
        return silent(days, *given), dropped


@dataclass(frozen=True)
class GammaGamma(Model):
    """Gamma-Gamma (Fader and Hardie 2013): what a customer spends on an order day is Gamma(p, nu),
    whenever they order, and nu is Gamma(q, gamma).
    """

    p: Value
    q: Value
    gamma: Value

    def expected_spend(self, order_days: Value, mean_spend: Value) -> Value:
        """What the customer spends on an order day, having spent `mean_spend` on each of
        `order_days` (equation 5).
        """
        spent = self.gamma + order_days * mean_spend
        return self.p * spent / (self.p * order_days + self.q - 1)


def discounted_ends(
    *, periods: int, period_days: float, discount: float
) -> list[tuple[float, float]]:
    """The ends of so many periods of so many days, with factors by which an order in the n-th is
    divided by (1 + discount)^n.
    """
    factors = [(1 + discount) ** -n for n in range(1, periods + 1)]
    return [
        (period_days * n, factor - later)
        for n, (factor, later) in enumerate(pairwise([*factors, 0.0]), 1)
    ]


def _mean_over_beta(
    fn: Any, a: Value, b: Value, f: Callable[..., Value], given: Sequence[Value]
) -> Value:
    """E[f(p, *given)] with p from Beta(a, b), for an f that is smooth in p.

    With a small `a`, p is mostly near 0. That part is taken out: E[f(p)] is
    f(0) + a / (a + b) E[(f(p) - f(0)) / p] with p from Beta(a + 1, b). The rest is a sum over the
    logits of p, with steps that grow where their density falls off exponentially.
    """

    def rest(
        left: Value, right: Value, at_0: Value, mode: Value, spread: Value, *given: Value
    ) -> Value:
        def placed(step: Value, growth: Value, decay: Value) -> tuple[Value, Value]:
            logit = mode + spread * step + (growth - 1) / right - (decay - 1) / left
            return logit, spread + growth / right + decay / left

        def weighed(logit: Value, width: Value) -> tuple[Value, Value]:
            # log(1 + exp(logit)), without overflow
            soft = fn.greatest(logit, 0.0) + fn.log1p(fn.exp(-fn.greatest(logit, -logit)))
            density = left * (logit - mode) - (left + right) * (soft - fn.log1p(left / right))
            p = fn.least(fn.greatest(fn.exp(logit - soft), _NEAREST), 1 - _NEAREST)
            return width * fn.exp(density), p

        def valued(weight: Value, p: Value) -> tuple[Value, Value]:
            return weight, (f(p, *given) - at_0) / p

        return fn.mean(_STEPS, placed, weighed, valued)

    left, at_0 = a + 1, 2 * f(_NEAREST, *given) - f(2 * _NEAREST, *given)
    mode, spread = fn.log(left / b), (1 / left + 1 / b) ** 0.5
    return at_0 + a / (a + b) * fn.let(rest, left, b, at_0, mode, spread, *given)


class _OnArrays:
    """What the formulas need, for numbers and arrays."""

    exp, log, expm1, log1p = np.exp, np.log, np.expm1, np.log1p
    cos, atan2 = np.cos, np.arctan2
    least, greatest = np.minimum, np.maximum

    @staticmethod
    def let(f: Callable[..., Value], *values: Value) -> Value:
        """What f gives for these values, each of which is made once."""
        return f(*values)

    @staticmethod
    def total(terms: Nodes, f: Callable[..., Value], *_: Value) -> Value:
        """The sum of what f gives for each of the terms, whatever else it reads."""
        return sum(f(*term) for term in terms)

    @staticmethod
    def mean(nodes: Nodes, *steps: Step) -> Value:
        """The mean of the weights and values that come of the nodes, step by step."""
        rows: Sequence[tuple[Value, ...]] = nodes
        for step in steps:
            rows = [step(*row) for row in rows]
        return sum(weight * value for weight, value in rows) / sum(weight for weight, _ in rows)


class _OnFewRows(_OnArrays):
    """The same for arrays so short that every step takes as long for one node as for all."""

    @staticmethod
    def total(terms: Nodes, f: Callable[..., Value], *beside: Value) -> Value:
        """The sum of what f gives for the terms, which lie along an axis before those of the
        values beside them.
        """
        axes = max(np.ndim(value) for value in beside)
        along = np.array(terms, float).T.reshape(len(terms[0]), -1, *[1] * axes)
        # One after the other, as for arrays of any length: numpy adds up a single row in pairs.
        return np.add.accumulate(np.asarray(f(*along)), axis=0)[-1]

    @staticmethod
    def mean(nodes: Nodes, *steps: Step) -> Value:
        """The mean of the weights and values that come of the nodes, a row of an array each."""
        row: tuple[Value, ...] = tuple(np.array(nodes, float).T[:, :, None])
        for step in steps:
            row = step(*row)
        weight, value = row
        weights = np.broadcast_to(weight, np.broadcast_shapes(weight.shape, value.shape))
        sums = [np.add.accumulate(parts, axis=0)[-1] for parts in (weights * value, weights)]
        return sums[0] / sums[1]


def _lifted(function: Callable[..., Column]) -> Callable[..., Column]:
    return staticmethod(lambda *values: function(*map(F.lit, values)))


class _OnColumns:
    """The same for Spark columns, with numbers among them.

    Spark makes what is used twice in a lambda function twice, unless it is a field of its argument.
    """

    exp, log, expm1, log1p = _lifted(F.exp), _lifted(F.log), _lifted(F.expm1), _lifted(F.log1p)
    cos, atan2 = _lifted(F.cos), _lifted(F.atan2)
    least, greatest = _lifted(F.least), _lifted(F.greatest)
    total = staticmethod(_OnArrays.total)

    @staticmethod
    def let(f: Callable[..., Value], *values: Value) -> Column:
        """What f gives for these values, each of which is made once."""
        return F.transform(F.array(_struct(values)), _of_fields(f, len(values)))[0]

    @staticmethod
    def mean(nodes: Nodes, *steps: Step) -> Column:
        """The mean of the weights and values that come of the nodes, step by step."""
        rows, width = F.array(*map(_struct, nodes)), len(nodes[0])
        for step in steps:
            rows, width = F.transform(rows, _of_fields(lambda *v, f=step: _struct(f(*v)), width)), 2

        def added(sums: Column, row: Column) -> Column:
            weight, value = row["_0"], row["_1"]
            return _struct([sums["_0"] + weight, sums["_1"] + weight * value])

        return F.aggregate(rows, _struct([0.0, 0.0]), added, lambda sums: sums["_1"] / sums["_0"])


def _struct(values: Sequence[Value]) -> Column:
    return F.struct(*[F.lit(v).cast("double").alias(f"_{n}") for n, v in enumerate(values)])


def _of_fields(f: Callable[..., Value], width: int) -> Callable[[Column], Value]:
    return lambda row: f(*[row[f"_{n}"] for n in range(width)])
