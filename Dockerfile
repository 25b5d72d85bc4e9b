# One image for all processes: `clock api` (the default), `clock worker`, `clock migrate`, … It has no servers in it.
ARG PYTHON=python:3.13-slim-bookworm

FROM ${PYTHON} AS build
WORKDIR /src
COPY requirements/build.txt ./
RUN pip install --no-cache-dir --require-hashes --only-binary :all: -r build.txt
COPY pyproject.toml README.md LICENSE ./
COPY clock clock
COPY lua lua
COPY sql sql
COPY docs/operations.md docs/operations.md
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels .

FROM ${PYTHON}
COPY requirements/prod.txt /tmp/prod.txt
RUN pip install --no-cache-dir --require-hashes --only-binary :all: -r /tmp/prod.txt && rm /tmp/prod.txt
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-deps --no-index --find-links /wheels clock
RUN useradd --system --uid 10001 --no-create-home clock
USER clock
WORKDIR /srv
ENV PYTHONUNBUFFERED=1 CLOCK_HOST=0.0.0.0 CLOCK_PORT=8080
EXPOSE 8080
ENTRYPOINT ["clock"]
CMD ["api"]
