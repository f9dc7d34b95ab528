"""Changes of ports of the operator's own devices: switched up and down, described, cut from power for a moment.

    reasons.py   why a port is left alone
    risks.py     the risk of a change: the class of its plan, and texts for the preview
    planner.py   answers requests and reverts with plans: the daemon registers `planners` and `requirement_tests`

The connector of a device finds the port, makes the steps and knows the agent's own way to the device; `agent.lines`
knows uplinks, and the subscribers of each port.
"""
