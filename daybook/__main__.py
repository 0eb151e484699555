"""Lets `python -m daybook` be the command `daybook`."""

from daybook.cli.main import main

main()
