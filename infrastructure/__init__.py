"""Where a job runs and where its bytes lie: the local Prefect server, stores, and later pools, signals and routing."""
