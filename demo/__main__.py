"""`python -m demo`: see --help."""

from demo.commands import main

main()
