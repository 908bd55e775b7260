"""`python -m collectors [--config FILE]`: samples every source of the settings until stopped."""

import argparse
import os
import sys

from collectors.process import Stop, set_up_logging
from collectors.supervisor import Supervisor
from eventwake.domain.errors import EventwakeError
from eventwake.settings import CONFIG_VARIABLE, config_file, load


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m collectors", description=__doc__)
    parser.add_argument("--config", help="the settings file (default: eventwake.toml)")
    options = parser.parse_args()
    if options.config:
        os.environ[CONFIG_VARIABLE] = options.config
    set_up_logging("collectors")
    try:
        settings = load()
        if not settings.source:
            print(  # noqa: T201
                f"{config_file()} names no source. Write one with: python -m eventwake init redis://HOST:6379/0",
                file=sys.stderr,
            )
            return 2
        Supervisor(settings).run(Stop().listen(to_parent=False))
    except EventwakeError as error:
        print(f"collectors: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
