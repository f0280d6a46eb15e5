"""Customers: what a host tells about a person, made ready to store and to compare."""
