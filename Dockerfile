# One image for all processes: `clock api` (the default), `clock worker`, `clock migrate`, …
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md ./
COPY clock clock
COPY lua lua
COPY sql sql
RUN pip wheel --no-cache-dir --wheel-dir /wheels .

FROM python:3.13-slim
RUN useradd --system --uid 10001 --no-create-home clock
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --find-links /wheels clock
USER clock
WORKDIR /srv
ENV PYTHONUNBUFFERED=1 CLOCK_HOST=0.0.0.0 CLOCK_PORT=8080
EXPOSE 8080
ENTRYPOINT ["clock"]
CMD ["api"]
