"""The demo: a year of bookings becomes customers, metrics, segments, tiers and a report."""
