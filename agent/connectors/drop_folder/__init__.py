"""Accounts and payments from CSV files that a billing system leaves in a folder, whole or not at all.

`connector.DropFolderConnector` is the whole surface; `configuration` has its keys. Inside: `files_session` finds the
files that are whole and have a writer that counts, and reads them.
"""

from agent.connectors.drop_folder.spec import SPEC

__all__ = ["SPEC"]
