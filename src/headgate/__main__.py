"""`python -m headgate` is the command `headgate`."""

import sys

from headgate.cli.main import main

sys.exit(main())
