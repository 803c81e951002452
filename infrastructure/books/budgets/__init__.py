"""Budgets: money that is taken aside before a job runs, and booked when it ended.

    set_limit ─▶ budget of a project and month
    reserve ─▶ run ─▶ settle                         the usual way
                  └─▶ release                        it did not run
    reserve ─▶ (crash) ─▶ reconcile ─▶ settled or released, once

A project and month have one account, a row that holds what is reserved and spent; a booking locks it first. So two that
reserve at once see each other, on any number of machines, and no sum over a month of jobs is ever computed.

| Module | Holds |
|---|---|
| `accounts` | what callers get: reservations, standings; months; exact amounts |
| `limits` | setting budgets, and what is left of them |
| `reservations` | reserve, settle, release, renew |
| `rooms` | how much a job may take: its own limit, its project's budget, and what was approved beyond them |
| `approvals` | a person allows a job more |
| `reconciling` | what a crash left behind |
"""
