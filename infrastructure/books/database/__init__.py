"""The database: what has to be known tomorrow, on every machine, and by two that ask at once.

    settings.database ─▶ address ─▶ Database.open ─ brings the schema up to date ─▶ read() / write()

Budgets, decisions, runs and approvals live here. SQLite in the state folder serves one machine; PostgreSQL, named by
a URL, serves many. The rest of faceflow sees one thing: a block in which it reads, and a block in which it writes, and
what is written there is kept whole or not at all.

| Module | Holds |
|---|---|
| `address` | the URL, without ever showing its secrets |
| `money`, `columns`, `schema` | amounts; how they and moments are stored; the tables |
| `database` | connections and transactions |
| `database_errors`, `explaining` | our errors; what those of the libraries mean to people |
| `upgrading`, `migrations` | the schema's version, and bringing it up to date once, however many start |
"""
