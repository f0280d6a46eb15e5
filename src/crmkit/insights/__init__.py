"""What the numbers of a customer say."""
