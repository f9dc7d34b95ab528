"""The systems that the agent acts on, one folder each; `registry` lists them, `base` is their contract."""
