-- One row per campaign, horizon and customer on its list, with its place.
-- campaign: The segment that the campaign is for
-- customer_id: The customer, as the source writes it
-- as_of: The business day at whose start the customer is looked at
-- horizon_days: Days of the label window [as_of, as_of + horizon_days)
-- horizon_hours: Hours of the label window, where horizon_days is 0; else null
-- place: 1 for the customer of the list with the highest expected value
-- control: Not to be contacted: a tenth, by a hash, that the campaign is measured against
-- probability: Calibrated probability of at least one order in the label window, 0 to 1
-- expected_value: Money expected to be spent in the label window; null where nothing was spent
-- band: high, medium or low, by decile
-- recency_days: Days since the last order
-- why: The reason that moved the probability most, in words
SELECT
  segment AS campaign,
  customer_id,
  as_of,
  horizon_days,
  horizon_hours,
  row_number() OVER (
    PARTITION BY segment, horizon_days, horizon_hours
    ORDER BY expected_value DESC NULLS LAST, probability DESC, customer_id
  ) AS place,
  {control} AS control,
  probability,
  expected_value,
  band,
  recency_days,
  why
FROM {scored_customers} AS customers
WHERE segment IS NOT NULL
