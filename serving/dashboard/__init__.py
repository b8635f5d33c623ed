"""The dashboard: what the tables hold, for people who write no SQL.

`app.py` is what Streamlit runs. `figures` asks and draws without Streamlit; `views` are the pages.
"""
