"""lag"""

from dashboard.components import frame

frame.title("lag")
