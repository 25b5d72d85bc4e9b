"""``python -m bench.servers bare|ordinary PORT WORKERS``: a baseline, with the service's own server options."""

import sys

from clock.http.server import serve

APPS = {"bare": "bench.bare:create_app", "ordinary": "bench.ordinary:create_app"}


def main() -> None:
    which, port, workers = sys.argv[1:]
    serve(APPS[which], "127.0.0.1", int(port), int(workers))


if __name__ == "__main__":
    main()
