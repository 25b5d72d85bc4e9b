"""One connection of the generator: opened without waiting, with TLS or without, for one request at a time."""

import errno
import select
import socket
import ssl
from typing import Any

import httptools

READ = 65_536


class Broken(Exception):
    """No answer will come from this connection any more."""


def tls(ca_pem: str) -> ssl.SSLContext:
    """``ca_pem``: whom to trust in place of the system's authorities."""
    return ssl.create_default_context(cadata=ca_pem or None)


class Connection:
    """``tap``: what it carries until ``deadline``, or None. A call of :meth:`advance` follows every event of the poll
    object. Raises :class:`OSError` where this host has no descriptor or no port for it."""

    def __init__(
        self, poll: "select.epoll", address: tuple[str, int], context: ssl.SSLContext | None, host: str
    ) -> None:
        self._poll = poll
        self._context, self._host = context, host
        self._socket = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.fd = self._socket.fileno()
        self._is_connected = self.is_open = False
        self._out = b""
        self.tap: Any = None
        self.deadline = 0.0
        self._watched = select.EPOLLOUT
        self._poll.register(self.fd, self._watched)
        self.begin_answer()
        try:
            found = self._socket.connect_ex(address)
        except OSError as error:
            found = error.errno or errno.EINVAL
        if found == errno.EADDRNOTAVAIL:  # which is no answer of the target
            raise OSError(found, "this host has no port left for a new connection: keep them, or take more hosts")
        self._failed = "" if found in (0, errno.EINPROGRESS) else errno.errorcode.get(found, str(found))

    def begin_answer(self) -> None:
        """Forget the last one."""
        self._parser = httptools.HttpResponseParser(self)
        self._is_complete = False
        self.body = b""
        self.retry_after_s = 0.0
        self.status = 0
        self.may_be_kept = False

    def send(self, raw: bytes) -> None:
        """Raises :class:`Broken`."""
        self._out = raw
        if self.is_open:
            self._write()

    def advance(self) -> bool:
        """Go on; whether an answer is complete. Raises :class:`Broken`."""
        try:
            if not self.is_open and not self._opened():
                return False
            if self._out:
                self._write()
            return self._read()
        except (OSError, httptools.HttpParserError) as error:
            raise Broken(type(error).__name__) from None

    def close(self) -> None:
        self._poll.unregister(self.fd)
        self._socket.close()

    def _opened(self) -> bool:
        """Whether the connection stands, TLS included."""
        if not self._is_connected:
            if self._failed:
                raise Broken(self._failed)
            found = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if found:
                raise Broken(errno.errorcode.get(found, str(found)))
            self._is_connected = True
            if self._context:
                self._socket = self._context.wrap_socket(
                    self._socket, server_hostname=self._host, do_handshake_on_connect=False
                )
        if isinstance(self._socket, ssl.SSLSocket):
            try:
                self._socket.do_handshake()
            except ssl.SSLWantReadError:
                self._watch(select.EPOLLIN)
                return False
            except ssl.SSLWantWriteError:
                self._watch(select.EPOLLOUT)
                return False
        self.is_open = True
        self._watch(select.EPOLLIN)
        return True

    def _watch(self, events: int) -> None:
        if events != self._watched:
            self._watched = events
            self._poll.modify(self.fd, events)

    def _write(self) -> None:
        try:
            written = self._socket.send(self._out)
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            written = 0
        except OSError as error:
            raise Broken(type(error).__name__) from None
        self._out = self._out[written:]
        self._watch(select.EPOLLIN | select.EPOLLOUT if self._out else select.EPOLLIN)

    def _read(self) -> bool:
        while True:
            try:
                data = self._socket.recv(READ)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return self._is_complete
            if not data:
                if self._is_complete:
                    return True
                raise Broken("closed")
            if self.tap is None:
                raise Broken("an answer to nothing")
            self._parser.feed_data(data)
            if self._is_complete and not isinstance(self._socket, ssl.SSLSocket):
                return True

    # -- what the parser says

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"retry-after" and value.strip().isdigit():
            self.retry_after_s = float(value[:6])

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self.may_be_kept = self._parser.should_keep_alive()  # the parser knows it here alone
        self._is_complete = True
