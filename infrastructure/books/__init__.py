"""What is written down and counted: the database, budgets, records of decisions and runs, campaigns."""
