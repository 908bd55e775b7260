"""What a page shows, computed from the store's rows: pure functions, no Streamlit."""
