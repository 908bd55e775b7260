"""traces"""

from dashboard.components import frame

frame.title("traces")
