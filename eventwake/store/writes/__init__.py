"""What the collectors write.

Each function takes an open transaction, so that a caller commits together what belongs together.
"""
