"""`python -m agent` is `ispagent`."""

from agent.cli import main

if __name__ == "__main__":
    main()
