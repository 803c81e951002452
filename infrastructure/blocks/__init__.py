"""Prefect blocks: settings of the company that are edited in Prefect's interface and read by name."""
