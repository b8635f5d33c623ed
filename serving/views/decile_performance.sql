-- One row per scored as_of with matured labels, horizon and decile: what was said, and what followed.
-- as_of: The business day at whose start the customers were looked at
-- horizon_days: Days of the label window [as_of, as_of + horizon_days)
-- horizon_hours: Hours of the label window, where horizon_days is 0; else null
-- decile: 1 for the tenth of customers with the highest probability, to 10
-- customers: Customers in the decile whose label has matured
-- predicted: Their mean probability
-- repurchased: How many of them ordered in the label window
-- observed: The share of them that did
-- lift: That share over the share of all customers of the as_of; null if nobody ordered
-- recall: Of all who ordered, the share in this decile and those above it; null if nobody did
-- matured_on: The first day after the label window
WITH matured AS (
  SELECT
    scored.as_of,
    scored.horizon_days,
    scored.horizon_hours,
    scored.decile,
    count(*) AS customers,
    avg(scored.probability) AS predicted,
    count_if(followed.repurchased) AS repurchased,
    max(followed.matured_on) AS matured_on
  FROM {scores} AS scored
  JOIN {labels} AS followed
    ON followed.customer_id = scored.customer_id
    AND followed.as_of = scored.as_of
    AND followed.horizon_days = scored.horizon_days
    AND followed.horizon_hours <=> scored.horizon_hours
  GROUP BY scored.as_of, scored.horizon_days, scored.horizon_hours, scored.decile
),
beside_all AS (
  SELECT
    *,
    sum(customers) OVER one_date AS all_customers,
    sum(repurchased) OVER one_date AS all_repurchased,
    sum(repurchased) OVER (
      PARTITION BY as_of, horizon_days, horizon_hours ORDER BY decile
    ) AS repurchased_so_far
  FROM matured
  WINDOW one_date AS (PARTITION BY as_of, horizon_days, horizon_hours)
)
SELECT
  as_of,
  horizon_days,
  horizon_hours,
  decile,
  customers,
  predicted,
  repurchased,
  repurchased / customers AS observed,
  try_divide(repurchased / customers, all_repurchased / all_customers) AS lift,
  try_divide(repurchased_so_far, all_repurchased) AS recall,
  matured_on
FROM beside_all
