"""The command line. Commands check their input before they import Prefect, because that import takes seconds."""
