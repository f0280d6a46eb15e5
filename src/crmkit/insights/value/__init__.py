"""Value, churn, RFM, cohorts and engagement: the statistics, as pure functions.

Times are in units of `unit_days` since a customer's first purchase, amounts in whatever unit
the caller counts money in.
"""
