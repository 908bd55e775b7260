"""The one error tree. Adapters translate their client's errors into it at their edge.

A message says what is wrong and what to do next; it never holds a credential.
"""


class EventwakeError(Exception):
    """Anything that Eventwake itself raises."""


class SettingsError(EventwakeError):
    """The settings do not fit; the message names the place and the mend."""


class StoreError(EventwakeError):
    """The store cannot do what was asked."""


class StoreUnavailable(StoreError):
    """The store cannot be reached, read or written now (missing, locked, full, read-only)."""


class StoreDamaged(StoreError):
    """The store's file is not what was written; restore it from a copy."""


class BrokerError(EventwakeError):
    """A broker did not do what was asked."""


class BrokerUnavailable(BrokerError):
    """The broker is down or out of reach: worth trying again later."""


class BrokerRefused(BrokerError):
    """The broker answered no (rights, wrong type, full): trying again changes nothing until someone acts."""


class Unsupported(BrokerError):
    """This broker has no such thing; its declared capabilities say so."""


class Conflict(EventwakeError):
    """Someone else acted first: what was shown is no longer so."""
