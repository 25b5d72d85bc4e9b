"""``python -m bench.servers bare|ordinary PORT WORKERS``: a baseline, with the service's own server options."""

import sys

from clock.config import Settings
from clock.http.server import serve

APPS = {"bare": "bench.bare:create_app", "ordinary": "bench.ordinary:create_app"}


def main() -> None:
    which, port, workers = sys.argv[1:]
    serve(APPS[which], Settings(api_workers=int(workers)), int(port))


if __name__ == "__main__":
    main()
