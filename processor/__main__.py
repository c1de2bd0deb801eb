"""``python -m processor`` is the ``processor`` program."""

import sys

from processor.cli import main

sys.exit(main())
