"""CPE as a domain, whatever the protocol: cached parameters, changes, baselines, provisioning.

`store` keeps what CPE report, `verbs` plans one CPE's change (pure), `intake` turns a request into a plan, `revert`
takes one back, `planner` registers both with `agent.changes` and `requirements` the tests of what plans rest on,
`baseline` and `provision` give new CPE their declared settings, `desk` answers queries, `build` puts it together.
How CPE are reached is behind `agent.cpe_model.manager.CpeManager`, which a connector implements.
"""
