-- One row per customer and horizon: the score of the latest as_of, the segment, and what is expected.
-- customer_id: The customer, as the source writes it
-- as_of: The business day at whose start the customer is looked at
-- horizon_days: Days of the label window [as_of, as_of + horizon_days)
-- horizon_hours: Hours of the label window, where horizon_days is 0; else null
-- probability: Calibrated probability of at least one order in the label window, 0 to 1
-- decile: 1 for the tenth of customers with the highest probability, to 10
-- band: high, medium or low, by decile
-- segment: champions, loyal, ..., by recency, orders and revenue; null where one is missing
-- why: The reason that moved the probability most, in words
-- recency_days: Days since the last order; null if its features are gone
-- orders_lifetime: Orders so far
-- revenue_lifetime: Money spent so far
-- expected_order_value: Money expected to be spent on a day with an order
-- expected_value: Money expected to be spent in the label window; null where nothing was spent
-- model_version: The champion that scored, see the table models
WITH looked_at AS (
  SELECT customer_id, as_of, recency_days, orders_lifetime, revenue_lifetime
  FROM {features}
  WHERE as_of IN (SELECT as_of FROM {current_scores})
),
cuts AS (
  SELECT
    percentile(recency_days, {fifths}) AS recency_ends,
    percentile(orders_lifetime, {fifths}) AS orders_ends,
    percentile(revenue_lifetime, {fifths}) AS revenue_ends
  FROM looked_at
),
segmented AS (
  SELECT looked_at.*, {segment} AS segment
  FROM looked_at CROSS JOIN cuts
)
SELECT
  scored.customer_id,
  scored.as_of,
  scored.horizon_days,
  scored.horizon_hours,
  scored.probability,
  scored.decile,
  scored.band,
  segmented.segment,
  try_element_at(scored.reasons, 1).sentence AS why,
  segmented.recency_days,
  segmented.orders_lifetime,
  segmented.revenue_lifetime,
  worth.expected_order_value,
  worth.expected_value,
  scored.model_version
FROM {current_scores} AS scored
LEFT JOIN segmented
  ON segmented.customer_id = scored.customer_id AND segmented.as_of = scored.as_of
LEFT JOIN {lifetime_value} AS worth
  ON worth.customer_id = scored.customer_id
  AND worth.as_of = scored.as_of
  AND worth.horizon_days = scored.horizon_days
  AND worth.horizon_hours <=> scored.horizon_hours
