"""`python -m eventwake COMMAND`: a table of sub-commands, each loaded when it is asked for."""

import sys
from importlib import import_module

COMMANDS = {
    "init": ("collectors.commands.init:main", "write eventwake.toml by looking at a broker's URL"),
    "doctor": ("collectors.commands.doctor:main", "check settings, store and brokers; say what to do"),
    "collectors": ("collectors.__main__:main", "sample every source until stopped"),
    "dashboard": ("dashboard.__main__:main", "serve the pages on 127.0.0.1"),
}


def main() -> int:
    """Runs the sub-command that the first argument names; its exit code."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help", "help"):
        print(_usage())
        return 0
    if name not in COMMANDS:
        print(f"eventwake: there is no command {name!r}\n\n{_usage()}", file=sys.stderr)
        return 2
    module, _, function = COMMANDS[name][0].partition(":")
    sys.argv = [f"python -m eventwake {name}", *sys.argv[2:]]
    code: int = getattr(import_module(module), function)()
    return code


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = (f"  {name:<{width}}  {says}" for name, (_, says) in COMMANDS.items())
    return "\n".join(
        ["usage: python -m eventwake COMMAND [--help]", "", *lines, "", "Settings: eventwake.example.toml"]
    )


if __name__ == "__main__":
    sys.exit(main())
