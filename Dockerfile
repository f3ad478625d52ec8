# The sandbox, a local operator for tests. `docker compose up` starts it; docs/howto/ci.md explains the options.
FROM python:3.13-slim AS build
WORKDIR /source
COPY requirements/demo.txt requirements/
RUN python -m venv /opt/sandbox \
    && /opt/sandbox/bin/python -m pip install --no-cache-dir --require-hashes -r requirements/demo.txt
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY camara_otp camara_otp
RUN /opt/sandbox/bin/python -m pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.13-slim
COPY --from=build /opt/sandbox /opt/sandbox
USER 10001:10001
EXPOSE 9091
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s \
    CMD ["/opt/sandbox/bin/python", "-c", "import http.client; c = http.client.HTTPConnection('127.0.0.1', 9091, timeout=2); c.request('GET', '/_sandbox/state?limit=1'); raise SystemExit(c.getresponse().status != 200)"]
# The published port leads to the address of the container, which is not loopback: that needs --expose. Other machines
# reach it only if the port is published to them; the compose file publishes it to this machine.
ENTRYPOINT ["/opt/sandbox/bin/python", "-m", "camara_otp.sandbox", "--host", "0.0.0.0", "--port", "9091", "--expose"]
