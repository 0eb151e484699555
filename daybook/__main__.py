"""Lets `python -m daybook` be the command `daybook`."""

from daybook.cli import main

main()
