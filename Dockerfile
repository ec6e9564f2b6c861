# Kissa in a container; see docs/docker.md.
FROM python:3.11-slim-bookworm

# MALLOC_ARENA_MAX: as in deploy/kissa.service.
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 MALLOC_ARENA_MAX=2

RUN useradd --system --user-group --uid 990 --home-dir /var/lib/kissa --shell /usr/sbin/nologin kissa \
    && install -d -o kissa -g kissa -m 0711 /var/lib/kissa /run/kissa

WORKDIR /opt/kissa

# First, so that a change of the code installs nothing anew.
COPY requirements.txt ./
RUN pip install --root-user-action=ignore --requirement requirements.txt

COPY . .
RUN python -m compileall -q .

ENV KISSA_DATABASE_URL=sqlite:////var/lib/kissa/kissa.db \
    KISSA_STORAGE_DIRECTORY=/var/lib/kissa/uploads \
    KISSA_SERVER_BIND=0.0.0.0:8080

USER kissa
VOLUME /var/lib/kissa
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["python", "deploy/healthcheck.py"]
CMD ["sh", "deploy/docker-start.sh"]
