"""A server that answers every read with the same bytes, to see what the load generator can do. Prints its port."""

import os
import select
import socket

BODY = b'{"status":1,"code":"checked_in","message":"","data":{"money":12345600}}'
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(BODY), BODY)


def main() -> None:
    poll, connections = select.epoll(), {}
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as server:
        print(server.getsockname()[1], flush=True)
        poll.register(server, select.EPOLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == server.fileno():
                    one = server.accept()[0]
                    connections[one.fileno()] = one
                    poll.register(one, select.EPOLLIN)
                elif os.read(fd, 65_536):
                    os.write(fd, ANSWER)
                else:
                    poll.unregister(fd)
                    connections.pop(fd).close()


if __name__ == "__main__":
    main()
