"""What pages, reports and workers read. Each function takes an open connection and returns plain rows."""
