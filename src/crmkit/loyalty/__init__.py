"""Points and tiers."""
