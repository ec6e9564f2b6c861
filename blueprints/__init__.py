"""The doors: each reads a request, calls one verb, renders the answer in its own shape."""
