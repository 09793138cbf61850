"""The loops of a running node, one a file, each named for what it does.

Only this floor, the executor and the lock open task groups and cancel scopes.
"""
