"""`python -m thorax` is `thorax`."""

import sys

from thorax.cli import main

sys.exit(main())
