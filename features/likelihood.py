"""Histories to the parameters of buy-till-you-die models, by maximum likelihood.

Customers of the same history are one row with their number as its weight, so that the driver sees
fewer rows than there are customers: of ten million and two years, some hundred thousand. Times and
amounts are measured in their means, parameters by their logarithms, and derivatives are exact, so
that one start is enough; at an end of what is sought, the search may have to go on from where it
stopped.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy  # its parts load when they are used: most commands fit nothing

from conf.errors import InputError
from features.probabilistic import (
    DEEP,
    TIMES,
    BetaGeometric,
    GammaGamma,
    History,
    Kind,
    ParetoNbd,
    PurchaseModel,
)

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Purchases = TypeVar("Purchases", bound=PurchaseModel)

# The log-likelihood of each row, and its derivatives by each parameter.
Likelihood = tuple[Floats, list[Floats]]
Loss = Callable[[Floats], tuple[float, Floats]]

# Parameters are sought between these, times and amounts in their means. At the ends customers are
# as good as alike, or as good as never drop out.
LEAST, MOST = 1e-4, 1e4
# These are sought as multiples of others: with a mean fixed, the likelihood is flat where customers
# are alike.
MULTIPLES = {"alpha": "r", "b": "a", "beta": "s"}
SCALES = {"alpha", "beta", "gamma"}
# Spend has no mean without it.
LEAST_Q = 1.001
# A slope of the mean log-likelihood, by the logarithm of a parameter, that is taken for none.
FLAT = 1e-4
# So often a search goes on without what it remembers of curvature, which ends make misleading.
RESTARTS = 5


class FitError(InputError):
    """The parameters of a model cannot be learned from these customers."""


@dataclass(frozen=True)
class Fitted(Generic[Kind]):
    """The model under which the histories of so many customers are likeliest.

    A standard error is NaN where the likelihood rises up to an end of what is sought.
    """

    model: Kind
    standard_errors: dict[str, float]
    log_likelihood: float
    customers: float


def fit_purchases(
    kind: type[Purchases], histories: pd.DataFrame, **fixed: int
) -> Fitted[Purchases]:
    """The purchase model of this kind, with k fixed if it is given, that fits best.

    `histories` has `repeats`, `first_to_last`, `tenure`, and `customers`: how many share them.
    What the gaps between a customer's orders add to the log-likelihood for k > 1, and no parameter
    depends on, is left out.

    Raises FitError where nobody has ordered on a second day, and where no maximum is found.
    """
    # The order of the rows changes the last digits of a sum.
    histories = histories.sort_values(["repeats", "first_to_last", "tenure"])
    customers = histories["customers"].to_numpy(float)
    repeats = histories["repeats"].to_numpy(float)
    if not repeats.any():
        raise FitError("nobody has ordered on a second day: there is no rate to be learned")
    unit = float(np.average(histories["tenure"], weights=customers))
    counts = _Counts(repeats)
    history = History(
        repeats,
        histories["first_to_last"].to_numpy(float) / unit,
        histories["tenure"].to_numpy(float) / unit,
    )
    likelihood = _beta_geometric if issubclass(kind, BetaGeometric) else _pareto
    fitted = _fit(
        kind, lambda model: likelihood(model, history, counts), customers, unit, fixed=fixed
    )
    # A density of k times as many steps as orders, of which each is a time.
    in_days = fitted.log_likelihood - fixed.get("k", 1) * np.log(unit) * (customers @ repeats)
    return replace(fitted, log_likelihood=float(in_days))


def fit_spend(spends: pd.DataFrame) -> Fitted[GammaGamma]:
    """The Gamma-Gamma model that fits best.

    `spends` has `order_days` and `mean_spend`, what was spent on each of these days, both above 0,
    and `customers`: how many share them.

    Raises FitError where nobody has spent on two days, and where no maximum is found.
    """
    spends = spends.sort_values(["order_days", "mean_spend"])
    customers = spends["customers"].to_numpy(float)
    mean = spends["mean_spend"].to_numpy(float)
    if not (spends["order_days"] > 1).any():
        raise FitError("nobody has spent on two days: there is no spread to be learned")
    unit = float(np.average(mean, weights=customers))
    days = _Counts(spends["order_days"].to_numpy(float))
    fitted = _fit(
        GammaGamma,
        lambda model: _gamma_gamma(model, days, mean / unit),
        customers,
        unit,
        least={"q": LEAST_Q},
    )
    in_money = fitted.log_likelihood - np.log(unit) * customers.sum()
    return replace(fitted, log_likelihood=float(in_money))


def _fit(
    kind: type[Kind],
    likelihood: Callable[[Any], Likelihood],
    weights: Floats,
    unit: float,
    *,
    fixed: dict[str, int] | None = None,
    least: dict[str, float] | None = None,
) -> Fitted[Kind]:
    names = kind.parameters()
    # What is sought: logarithms of the parameters, of some as a multiple of another.
    logs_of = np.eye(len(names))
    for name, other in MULTIPLES.items():
        if name in names and other in names:
            logs_of[names.index(name), names.index(other)] = 1.0

    def model(parameters: Floats) -> Kind:
        return kind(*parameters.tolist(), **(fixed or {}))

    def loss(sought: Floats) -> tuple[float, Floats]:
        parameters = np.exp(logs_of @ sought)
        rows, slopes = likelihood(model(parameters))
        by_log = np.array([weights @ slope for slope in slopes]) * parameters
        return -float(weights @ rows) / weights.sum(), -(by_log @ logs_of) / weights.sum()

    bounds = np.log([((least or {}).get(name, LEAST), MOST) for name in names])
    start, steps = np.maximum(0.0, bounds[:, 0] + 1), 0
    for _ in range(1 + RESTARTS):
        found = scipy.optimize.minimize(
            loss,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": 1000, "ftol": 1e-15, "gtol": 1e-9, "maxls": 50},
        )
        steps += found.nit
        # At an end, a slope beyond it is none.
        slope = np.abs(found.x - np.clip(found.x - found.jac, *bounds.T)).max()
        if slope < FLAT or not np.isfinite(found.fun):
            break
        start = found.x
    if not (np.isfinite(found.fun) and slope < FLAT):
        raise FitError(
            f"{kind.__name__}: the likelihood has no maximum where the search ended, after "
            f"{steps} steps with a slope of {slope:.1e} ({found.message})"
        )
    inside = (found.x > bounds[:, 0]) & (found.x < bounds[:, 1])
    units = np.array([unit if name in SCALES else 1.0 for name in names])
    estimates = np.exp(logs_of @ found.x) * units
    errors = estimates * _errors(loss, found.x, inside, logs_of, weights.sum())
    return Fitted(
        model(estimates),
        dict(zip(names, errors.tolist(), strict=True)),
        -float(found.fun * weights.sum()),
        float(weights.sum()),
    )


def _errors(loss: Loss, sought: Floats, inside: Bools, logs_of: Floats, customers: float) -> Floats:
    """The standard errors of logarithms of parameters, from the observed information."""
    step = 1e-4
    moves = step * np.eye(len(sought))
    slopes = np.array([loss(sought + move)[1] - loss(sought - move)[1] for move in moves])
    information = slopes / (2 * step) * customers
    bounded = inside & (np.diag(information) > 1e-6)
    errors = np.full(len(sought), np.nan)
    known = ~logs_of[:, ~bounded].any(axis=1)
    within = information[np.ix_(bounded, bounded)]
    if bounded.any() and np.linalg.eigvalsh(within).min() > 0:
        logs = logs_of[np.ix_(known, bounded)]
        errors[known] = np.sqrt(np.diag(logs @ np.linalg.inv(within) @ logs.T))
    return errors


class _Counts:
    """Whole numbers, of which few are distinct: a gamma function is taken once of each."""

    def __init__(self, numbers: Floats) -> None:
        self.numbers = numbers
        self._distinct, self._place = np.unique(numbers, return_inverse=True)

    def rising(self, base: float, times: float = 1.0, plus: float = 0.0) -> tuple[Floats, Floats]:
        """log(gamma(base + n) / gamma(base)) and its derivative by the base, for n = times * number
        + plus.
        """
        gammaln, digamma = scipy.special.gammaln, scipy.special.digamma
        end = base + times * self._distinct + plus
        logs, slopes = gammaln(end) - gammaln(base), digamma(end) - digamma(base)
        return logs[self._place], slopes[self._place]


def _beta_geometric(model: BetaGeometric, history: History, counts: _Counts) -> Likelihood:
    """By r, alpha, a and b: equation 6 of Fader, Hardie and Lee (2005), and for k > 1 the one of
    Reutterer, Platzer and Schroeder (2021).
    """
    r, alpha, a, b, k = model.r, model.alpha, model.a, model.b, model.k
    shape, since = r + k * history.repeats, history.tenure - history.first_to_last
    at_last, now = alpha + history.first_to_last, alpha + history.tenure
    # The weights of 0 to k - 1 steps since the last order, summed, with their derivatives.
    share = since / now
    weight = steps = np.ones_like(shape)
    by_shape = steps_by_shape = steps_by_log_share = np.zeros_like(shape)
    for step in range(1, k):
        factor = (shape + step - 1) * share / step
        weight, by_shape = weight * factor, by_shape * factor + weight * share / step
        steps, steps_by_shape = steps + weight, steps_by_shape + by_shape
        steps_by_log_share = steps_by_log_share + step * weight
    fading = np.log1p(since / at_last)
    chances = history.repeats + model.after_first
    last_chance = np.where(chances > 0, b + np.maximum(chances, 1) - 1, np.inf)
    alive = np.log(steps) - shape * fading
    total = np.logaddexp(alive, np.log(a) - np.log(last_chance))
    p_alive = np.exp(alive - total)
    ordering, ordering_by_r = counts.rising(r, k)
    staying, staying_by_b = counts.rising(b, plus=model.after_first)
    choosing, choosing_by_sum = counts.rising(a + b, plus=model.after_first)
    return (
        ordering + r * np.log(alpha) - shape * np.log(at_last) + staying - choosing + total,
        [
            ordering_by_r + np.log(alpha / at_last) + p_alive * (steps_by_shape / steps - fading),
            r / alpha
            - shape / at_last
            + p_alive * (shape * since / at_last - steps_by_log_share / steps) / now,
            (1 - p_alive) / a - choosing_by_sum,
            staying_by_b - choosing_by_sum - (1 - p_alive) / last_chance,
        ],
    )


def _pareto(model: ParetoNbd, history: History, counts: _Counts) -> Likelihood:
    """By r, alpha, s and beta: equation 18 of Fader and Hardie (2005), with its hypergeometric
    functions as the integral that they are.
    """
    r, alpha, s, beta = model.r, model.alpha, model.s, model.beta
    shape, since = r + history.repeats, history.tenure - history.first_to_last
    orders, dropouts = alpha + history.first_to_last, beta + history.first_to_last

    def silence(time: Floats) -> tuple[Floats, Floats]:
        by_r, by_s = -np.log1p(time / orders), -np.log1p(time / dropouts)
        by_alpha = shape * time / (orders * (orders + time))
        by_beta = s * time / (dropouts * (dropouts + time))
        return np.exp(shape * by_r + s * by_s), np.array([by_r, by_alpha, by_s, by_beta])

    total, slopes = silence(since)
    slopes *= total
    reach = np.minimum(
        orders * np.expm1(np.minimum(np.log1p(since / orders), DEEP / shape)),
        dropouts * np.expm1(np.minimum(np.log1p(since / dropouts), DEEP / s)),
    )
    scale = orders * dropouts / (orders + dropouts)
    length = np.log1p(reach / scale)
    for place, part in TIMES:
        time = scale * np.expm1(length * place)
        silent, by_log = silence(time)
        dropping_out = part * s * length * silent * (scale + time) / (dropouts + time)
        by_log[2] += 1 / s
        by_log[3] -= 1 / (dropouts + time)
        total += dropping_out
        slopes += dropping_out * by_log
    slopes /= total
    ordering, ordering_by_r = counts.rising(r)
    return (
        ordering
        + r * np.log(alpha)
        - shape * np.log(orders)
        + s * np.log(beta / dropouts)
        + np.log(total),
        [
            slopes[0] + ordering_by_r + np.log(alpha / orders),
            slopes[1] + r / alpha - shape / orders,
            slopes[2] + np.log(beta / dropouts),
            slopes[3] + s / beta - s / dropouts,
        ],
    )


def _gamma_gamma(model: GammaGamma, days: _Counts, mean: Floats) -> Likelihood:
    """By p, q and gamma: equation 1a of Fader and Hardie (2013)."""
    p, q, gamma, x = model.p, model.q, model.gamma, days.numbers
    digamma = scipy.special.digamma
    everybody = gamma + x * mean
    both, both_by_q = days.rising(q, p)
    own, own_by_base = days.rising(1.0, p, -1.0)
    share = np.log(x * mean / everybody)
    return (
        both - own + q * np.log(gamma / everybody) + p * x * share - np.log(mean),
        [
            x * (both_by_q + digamma(q) - own_by_base - digamma(1.0) + share),
            both_by_q + np.log(gamma / everybody),
            q / gamma - (p * x + q) / everybody,
        ],
    )
