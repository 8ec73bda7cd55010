"""The routes of the API, one module for each kind of thing; who may use which is in `jobs/web/rules.py`."""
