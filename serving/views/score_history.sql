-- One row per customer, horizon and scored as_of: the score, and how it differs from the one before.
-- customer_id: The customer, as the source writes it
-- as_of: The business day at whose start the customer is looked at
-- horizon_days: Days of the label window [as_of, as_of + horizon_days)
-- horizon_hours: Hours of the label window, where horizon_days is 0; else null
-- probability: Calibrated probability of at least one order in the label window, 0 to 1
-- decile: 1 for the tenth of customers with the highest probability, to 10
-- band: high, medium or low, by decile
-- previous_as_of: The day of the customer's score before; null for the first
-- previous_probability: The probability then
-- previous_decile: The decile then
-- previous_band: The band then
-- deciles_gained: By how many deciles the customer has risen; negative for a fall
-- band_change: up, down or same; null for the first score
-- model_version: The champion that scored, see the table models
WITH beside_previous AS (
  SELECT
    *,
    lag(struct(as_of, probability, decile, band)) OVER (
      PARTITION BY customer_id, horizon_days, horizon_hours ORDER BY as_of
    ) AS previous,
    array_position(array('low', 'medium', 'high'), band) AS height
  FROM {scores}
)
SELECT
  customer_id,
  as_of,
  horizon_days,
  horizon_hours,
  probability,
  decile,
  band,
  previous.as_of AS previous_as_of,
  previous.probability AS previous_probability,
  previous.decile AS previous_decile,
  previous.band AS previous_band,
  previous.decile - decile AS deciles_gained,
  CASE sign(height - array_position(array('low', 'medium', 'high'), previous.band))
    WHEN 1 THEN 'up'
    WHEN -1 THEN 'down'
    WHEN 0 THEN 'same'
  END AS band_change,
  model_version
FROM beside_previous
