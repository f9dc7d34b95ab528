"""The verbs of an ISP: what suspend, restore, set-plan and disconnect mean for a service and its reasons. Pure."""
