"""What customers did, and the numbers that follow."""
