"""Program 2: the pages. `python -m dashboard`, or `streamlit run dashboard/app.py`."""
