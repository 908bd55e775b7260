"""The command line: python -m examples.order_system"""

import argparse
import math
import sys
import time

from examples.order_system.client import Unreachable, connect
from examples.order_system.faults import FAULTS, BadFault, read, switch_off, switch_on
from examples.order_system.names import RATE_KEY
from examples.order_system.run_all import run_all
from examples.order_system.run_one import SERVICES, run_one
from examples.order_system.settings import add_flags, at_least_zero, settings_from

BAD_USE = 2


def run(arguments: argparse.Namespace) -> int:
    settings = settings_from(arguments)
    if arguments.service:
        return run_one(arguments.service, settings, arguments.with_parent)
    return run_all(settings)


def list_faults(arguments: argparse.Namespace) -> int:
    on = read(connect(arguments.url, name="order-system"))
    for name, fault in FAULTS.items():
        value = f" [{fault.unit}]" if fault.unit else ""
        print(f"{name:16} {_state(name, on.get(name)):18} {fault.meaning}{value}")
    return 0


def _state(name: str, value: float | None) -> str:
    if value is None:
        return "off"
    if FAULTS[name].unit is None or math.isinf(value):
        return "ON"
    if FAULTS[name].lasts:
        return f"ON for {value - time.time():.0f} s more"
    return f"ON ({value:g})"


def break_it(arguments: argparse.Namespace) -> int:
    switch_on(connect(arguments.url, name="order-system"), arguments.name, arguments.value)
    print(f"{arguments.name} is on; the services see it within about a second")
    return 0


def mend(arguments: argparse.Namespace) -> int:
    switch_off(connect(arguments.url, name="order-system"), arguments.name)
    print(f"{'every fault' if arguments.name == 'all' else arguments.name} is off")
    return 0


def set_rate(arguments: argparse.Namespace) -> int:
    connect(arguments.url, name="order-system").set(RATE_KEY, arguments.orders_per_second)
    print(f"{arguments.orders_per_second:g} orders per second from now on")
    return 0


def arguments_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m examples.order_system", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("run", help="run every service, or one of them")
    command.add_argument(
        "service", nargs="?", choices=list(SERVICES), help="only this one, in the foreground"
    )
    command.add_argument("--with-parent", action="store_true", help="end when standard input ends")
    add_flags(command)
    command.set_defaults(act=run)

    command = commands.add_parser("faults", help="list the faults and their state")
    add_flags(command, "url")
    command.set_defaults(act=list_faults)

    command = commands.add_parser("break", help="switch a fault on")
    command.add_argument("name", metavar="NAME", help=", ".join(FAULTS))
    command.add_argument("value", metavar="VALUE", nargs="?")
    add_flags(command, "url")
    command.set_defaults(act=break_it)

    command = commands.add_parser("mend", help="switch a fault off, or all of them")
    command.add_argument("name", metavar="NAME", help="a fault, or all")
    add_flags(command, "url")
    command.set_defaults(act=mend)

    command = commands.add_parser("rate", help="set how many orders per second are placed")
    command.add_argument("orders_per_second", metavar="N", type=at_least_zero)
    add_flags(command, "url")
    command.set_defaults(act=set_rate)
    return parser


def main() -> int:
    arguments = arguments_parser().parse_args()
    try:
        status: int = arguments.act(arguments)
    except (Unreachable, BadFault) as error:
        print(error, file=sys.stderr)
        return BAD_USE
    return status


if __name__ == "__main__":
    sys.exit(main())
