"""An empty Streamlit page, served as the dashboard serves its own: the same gate, start page and settings."""
