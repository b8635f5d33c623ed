-- One row per horizon and segment: how many customers it has, and what is expected of them.
-- segment: champions, loyal, ..., by recency, orders and revenue; null where one is missing
-- as_of: The business day at whose start the customers are looked at
-- horizon_days: Days of the label window [as_of, as_of + horizon_days)
-- horizon_hours: Hours of the label window, where horizon_days is 0; else null
-- customers: The customers in it
-- share: Their share of all customers
-- probability: Their mean probability of an order in the label window
-- orderers: How many of them are expected to order in the label window
-- expected_value: Money expected of them in the label window
-- recency_days: Their mean days since the last order
-- revenue_lifetime: Money that they have spent so far
SELECT
  segment,
  as_of,
  horizon_days,
  horizon_hours,
  count(*) AS customers,
  count(*) / sum(count(*)) OVER (PARTITION BY as_of, horizon_days, horizon_hours) AS share,
  avg(probability) AS probability,
  sum(probability) AS orderers,
  sum(expected_value) AS expected_value,
  avg(recency_days) AS recency_days,
  sum(revenue_lifetime) AS revenue_lifetime
FROM {scored_customers} AS customers
GROUP BY segment, as_of, horizon_days, horizon_hours
