"""flow"""

from dashboard.components import frame

frame.title("flow")
