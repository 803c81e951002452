"""One job on the machines that share it: its segments, shards, helpers and races, and short jobs in one process."""
