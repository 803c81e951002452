-- The Prefect server's own database, beside faceflow's books.
CREATE DATABASE prefect;
