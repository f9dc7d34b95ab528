"""Backups of both programs: SQLite files as they were in one moment, streamed into a file in age's format.

* `sealing`: recipients and identities, encrypting and decrypting a stream (age v1, by pyrage)
* `snapshot`: the pages of a database that is in use, from one moment of it, with no copy on the disk
* `archive`: the tar inside: a manifest first, then the files, then their SHA-256
* `new_file`: a file that appears whole and durable, or not at all
* `private_folder`: a folder for clear data that is gone at the end
* `errors`: the tree
"""
