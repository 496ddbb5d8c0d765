"""`python -m dltrain`: the same as the command `dltrain`."""

import sys

from dltrain.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
