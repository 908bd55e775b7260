"""dead_letters"""

from dashboard.components import frame

frame.title("dead_letters")
