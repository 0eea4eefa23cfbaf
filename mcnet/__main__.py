"""``python -m mcnet``: the command line."""

from mcnet.commands.cli import main

main()
