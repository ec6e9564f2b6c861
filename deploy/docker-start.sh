#!/bin/sh
# What the container runs; the server takes this process's place, and so gets its signals.
set -eu

# Files for Kissa alone; folders that nginx in another container can pass through. What is public
# is made 0644 by Kissa itself.
umask 0066
flask migrate
exec gunicorn -c deploy/gunicorn.conf.py 'app:create_app()'
