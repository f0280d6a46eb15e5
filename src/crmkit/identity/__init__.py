"""Who is who: finding the customer that a host's data speaks of."""
