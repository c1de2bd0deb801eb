"""``python -m authplugin`` is the ``authplugin`` program."""

import sys

from authplugin.cli import main

sys.exit(main())
