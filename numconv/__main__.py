"""``python -m numconv`` is the program ``numconv``."""

import sys

from numconv.cli import main

if __name__ == "__main__":
    sys.exit(main())
