"""``python -m onnlab`` is the command ``onnlab``."""

import sys

from onnlab.cli import main

if __name__ == "__main__":
    sys.exit(main())
