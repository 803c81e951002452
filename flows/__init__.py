"""In what order the steps run: flows that orchestrate and never touch a picture themselves.

Every module here is a flow, and everything that can be started is one of them. What flows are made of lies beside them:
`run` (what every run shares), `job` (one job), `dispatcher`, `campaigns`, `server` (making flows known to a server).
"""
