"""The `ringback` command: one file per subcommand, and the only place that may import several services.

The command itself is in `services.cli.app`, so that importing a reader of call logs loads no driver.
"""
