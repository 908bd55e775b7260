"""alerts"""

from dashboard.components import frame

frame.title("alerts")
