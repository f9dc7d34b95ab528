"""CPE as a domain, whatever the protocol: cached parameters, changes, baselines, provisioning.

`store` keeps what CPE report, `verbs` plans one CPE's change (pure), `intake` turns a request into a plan, `revert`
takes one back, `baseline` and `provision` give new CPE their declared settings, `desk` answers queries.
"""
