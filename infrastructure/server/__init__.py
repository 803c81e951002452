"""The local Prefect server that the product owns.

A command asks for `lease_server(...)` and gets an address. When `PREFECT_API_URL` names a server, that one is
used and nothing is started. Otherwise a *keeper* process starts Prefect's server on 127.0.0.1 and ends it once
nobody holds a lease any more. Leases are kernel file locks, so a command that dies by SIGKILL gives its lease
back like any other, and the server dies with its keeper: nothing is ever left behind.

| module      | duty                                                             |
|-------------|------------------------------------------------------------------|
| `lease`     | the client: find, start, wait, hold the lock                     |
| `keeper`    | the process that starts, watches and ends the server             |
| `process`   | Prefect's server itself, its garbage collected off the event loop |
| `record`    | the files by which the two know each other                       |
| `environment` | the variables that point Prefect at that server and our folders |
"""
