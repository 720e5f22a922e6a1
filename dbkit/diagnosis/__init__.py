"""Pure: reads what a failed connection attempt says, and tells a passing trouble from a refusal."""
