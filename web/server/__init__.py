"""gunicorn inside `python main.py`."""
