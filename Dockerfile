# The portal's image. It runs as uid 10001, listens on port 3000 and keeps its data in /data.

FROM python:3.11-slim-bookworm AS build
WORKDIR /srv/portal
RUN python -m venv /opt/venv
COPY requirements.lock ./
# Wheels only: the image needs no compiler, and a package without a wheel fails here instead of half way through a build.
RUN /opt/venv/bin/python -m pip install --no-cache-dir --disable-pip-version-check \
    --only-binary :all: --require-hashes -r requirements.lock
COPY app ./app
# At run time nothing is written beside the sources, so they are compiled here: the start is faster.
RUN /opt/venv/bin/python -m compileall -q app

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="AI Stack Deployer" \
      org.opencontainers.image.description="A portal that deploys a personal AI coding server on Dokploy" \
      org.opencontainers.image.licenses="MIT"
RUN groupadd --gid 10001 portal \
    && useradd --uid 10001 --gid portal --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin portal \
    && install -d -o portal -g portal -m 0700 /data
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DATABASE_URL=sqlite+aiosqlite:////data/portal.db
WORKDIR /srv/portal
COPY --from=build /opt/venv /opt/venv
COPY --from=build /srv/portal/app ./app
COPY templates ./templates
COPY static ./static
COPY locales ./locales
USER 10001:10001
VOLUME ["/data"]
EXPOSE 3000
# Runs are handed over within a second; open streams are told to come back.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import http.client, os; c = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('PORT') or 3000), timeout=4); c.request('GET', '/health'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["python", "-m", "app"]
CMD ["serve"]
