"""Names that several services share."""

USERS = "users"
ORDERS = "orders"
INVENTORY_COMMANDS = "inventory.commands"
INVENTORY = "inventory"
PAYMENT_COMMANDS = "payment.commands"
PAYMENTS = "payments"
ACCOUNTS = "accounts"
EMAILS = "emails"
OPS_ALERTS = "ops.alerts"

DUPLICATES_KEY = "order_system:duplicates"  # hash: group -> duplicate deliveries that it recognised
RATE_KEY = "order_system:rate"  # orders per second, as last asked for


def dead_letters_of(stream: str) -> str:
    return stream + ":dlq"


def processed_mark(group: str, event_id: str) -> str:
    """The key that says that a group has handled an event."""
    return f"processed:{group}:{event_id}"
