"""The command line. Everything but `serve` and the commands on local files talks to a server through `orcs_client` only, and
nothing heavy is imported before a command needs it.
"""
