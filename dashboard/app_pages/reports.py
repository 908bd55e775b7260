"""reports"""

from dashboard.components import frame

frame.title("reports")
