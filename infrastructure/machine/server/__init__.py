"""The local Prefect server that the product owns.

A command asks for `lease_server(...)` and gets an address. When `PREFECT_API_URL` names a server, that one is
used and nothing is started. Otherwise a *keeper* process starts Prefect's server on 127.0.0.1 and ends it once
nobody holds a lease any more. Leases are kernel file locks, so a command that dies by SIGKILL gives its lease
back like any other, and the server dies with its keeper: nothing is ever left behind.

| module      | duty                                                             |
|-------------|------------------------------------------------------------------|
| `lease`     | the client: find, start, wait, hold the lock                     |
| `server_keeper` | the process that starts, watches and ends the server             |
| `process`   | Prefect's server itself, its garbage collected off the event loop |
| `record`    | the files by which the two know each other                       |
| `starting`  | what can be seen of a server that starts, and when it is given up |
| `probe`     | who answers at an address: a Prefect server, or what else        |
| `environment` | the variables that point Prefect at that server and our folders |
| `inherited` | what our processes take over from the user's environment        |
| `python_variables` | Python's settings in all of them                        |
| `prefect_files` | Prefect reads no settings from files of the working folder  |
| `program`   | a program of Prefect, started so                                 |
"""
