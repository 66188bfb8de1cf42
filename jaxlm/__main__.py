"""`python -m jaxlm` is `jaxlm`."""

from jaxlm.cli import main

main()
