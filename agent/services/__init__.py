"""The verbs of an ISP: the meaning of suspend, restore, set-plan and disconnect for a service and its reasons. Pure."""
