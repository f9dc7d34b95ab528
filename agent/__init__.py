"""The on-prem daemon: it makes service changes on an ISP's network and proves them. Start at `agent.changes`."""
