"""What belongs to a machine: its server and worker, its ledger of jobs, how pools start one, and their images."""
