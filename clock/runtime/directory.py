"""The data directory: one owner at a time, and the generated secrets in it (mode 0600)."""

import asyncio
import base64
import fcntl
import os
import pwd
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from clock.beacon.own import OwnKey
from clock.beacon.settings import description
from clock.config import Settings
from clock.fair.notes import new_key
from clock.runtime.dev_keys import AlipayKeys, WechatKeys, new_alipay_keys, new_beacon_key, new_wechat_keys

BEACON_DOUBLE = "double"
"""What the beacon's double is called, in ``CLOCK_BEACON`` and as a chain."""

DEV_ORIGIN = "localhost/clock"
"""The name of the key that signs statements in development."""

LEFTOVERS_S = 20.0
"""How long a start waits for processes that a killed owner left behind."""
_RETRY_S = 0.05


class DataDirError(Exception):
    """The data directory cannot be used; the message names the path and what to do."""


def create(data_dir: Path) -> Path:
    """Make the directory; return its absolute path.

    Others may enter it, but not list it: as root, Postgres runs under another account and keeps its data
    below it. Every sensitive file in it has mode 0600, every directory 0700.
    """
    try:
        if not data_dir.exists():
            data_dir.mkdir(parents=True, exist_ok=True)
            data_dir.chmod(0o711)  # independent of the umask
        return data_dir.resolve()
    except OSError as error:
        raise DataDirError(f"cannot make the data directory {data_dir}: {error.strerror}") from None


async def lock(path: Path, wait_s: float = LEFTOVERS_S) -> int:
    """Take the exclusive lock ``path``; return its descriptor. Closing every copy of it releases the lock.

    A process that inherits the descriptor holds the lock while it lives. So if the owner is killed, the lock is held
    until its children have exited. Raises :class:`DataDirError` at once if the owner is another living process, and
    after ``wait_s`` if only leftovers of a dead owner hold it.
    """
    deadline = time.monotonic() + wait_s
    descriptor = _open(path)
    try:
        while not _try_lock(descriptor):
            owner = _owner(descriptor)
            if owner not in (0, os.getpid()) and alive(owner):
                raise DataDirError(f"{path.parent} is in use by process {owner} (lock {path.name})")
            if time.monotonic() >= deadline:
                raise DataDirError(f"{path.parent} is still in use by what process {owner} started (lock {path.name})")
            await asyncio.sleep(_RETRY_S)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def locked(path: Path) -> bool:
    """Whether a process holds the lock ``path`` now."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def account_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _open(path: Path) -> int:
    """Open the lock file. Refuses a data directory that another account created: that account could not read the
    files that we would add."""
    me = account_name(os.geteuid())
    remedy = "start as the account that began it, or choose another CLOCK_DATA_DIR"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except PermissionError:
        raise DataDirError(f"{path} cannot be opened by {me}: {remedy}") from None
    except OSError as error:  # a read-only file system, a full disk
        raise DataDirError(f"{path} cannot be opened: {error.strerror}; choose another CLOCK_DATA_DIR") from None
    owner = os.fstat(descriptor).st_uid
    if owner != os.geteuid():
        os.close(descriptor)
        raise DataDirError(f"{path} belongs to {account_name(owner)}, and this process runs as {me}: {remedy}")
    return descriptor


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _owner(descriptor: int) -> int:
    """The process that took the lock; 0 if it has not written its id yet."""
    return int(os.pread(descriptor, 32, 0) or b"0")


def write_private(path: Path, content: str) -> None:
    """Replace ``path`` atomically by a file of mode 0600."""
    fresh = _write_fresh(path, content)
    fresh.replace(path)


def keep(path: Path, make: Callable[[], str]) -> str:
    """The secret in ``path``. The first call makes it, and syncs it to disk (mode 0600) before it returns.

    If several processes are first at the same time, one makes it, and all return it.
    """
    if not path.exists():
        fresh = _write_fresh(path, make())
        try:
            with suppress(FileExistsError):
                os.link(fresh, path)
        finally:
            fresh.unlink()
    secret = path.read_text(encoding="ascii").strip()
    if not secret:
        raise DataDirError(f"the secret {path} is empty: restore it, or remove it to have a new one made")
    return secret


def _write_fresh(path: Path, content: str) -> Path:
    fresh = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise DataDirError(f"cannot write {path}: {error.strerror}") from None
    return fresh


def new_password() -> str:
    """32 random bytes, as text that needs no quoting in a URL."""
    return secrets.token_urlsafe(32)


def new_webhook_secret() -> str:
    """32 random bytes, spelt as Standard Webhooks want it."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def with_dev_secrets(settings: Settings) -> Settings:
    """In development, fill in the token, the webhook secret and the key of statements where the settings name none, for
    a double of a provider (a URL on this host, and no merchant named) the keys of both sides, and for the beacon's
    double its chain.

    They are generated once and kept in the data directory. Outside development the settings are returned unchanged.
    """
    if settings.env != "dev":
        return settings
    data_dir = create(settings.data_dir)
    if not (settings.jwt_secret or settings.jwt_public_key):
        secret = keep(data_dir / "jwt.secret", new_password)
        settings = msgspec.structs.replace(settings, jwt_secret=secret)
    if not settings.webhook_secret:
        secret = keep(data_dir / "webhook.secret", new_webhook_secret)
        settings = msgspec.structs.replace(settings, webhook_secret=secret)
    if not settings.statement_key:
        key = keep(data_dir / "statement.key", lambda: new_key(DEV_ORIGIN))
        settings = msgspec.structs.replace(settings, statement_key=key)
    if is_here(settings.wechat_url) and not settings.wechat_mchid:
        settings = _with_wechat(settings, wechat_keys(data_dir))
    if is_here(settings.alipay_url) and not settings.alipay_app_id:
        settings = _with_alipay(settings, alipay_keys(data_dir))
    if settings.beacon == BEACON_DOUBLE:
        chain = OwnKey(beacon_key(data_dir)).chain(BEACON_DOUBLE)
        settings = msgspec.structs.replace(settings, beacon=description(chain))
    return settings


def is_here(url: str) -> bool:
    return url.startswith("http://127.0.0.1:")


def wechat_keys(data_dir: Path) -> WechatKeys:
    return msgspec.json.decode(keep(data_dir / "wechat.keys", new_wechat_keys), type=WechatKeys)


def alipay_keys(data_dir: Path) -> AlipayKeys:
    return msgspec.json.decode(keep(data_dir / "alipay.keys", new_alipay_keys), type=AlipayKeys)


def is_beacon_double(settings: Settings) -> bool:
    """Whether the settings name the double's chain, as :func:`with_dev_secrets` has filled it in."""
    return f'"beaconID":"{BEACON_DOUBLE}"' in settings.beacon


def beacon_key(data_dir: Path) -> bytes:
    return bytes.fromhex(keep(data_dir / "beacon.key", new_beacon_key))


def _with_wechat(settings: Settings, keys: WechatKeys) -> Settings:
    return msgspec.structs.replace(
        settings,
        wechat_mchid=keys.mchid,
        wechat_appid=keys.appid,
        wechat_serial=keys.serial,
        wechat_private_key=keys.merchant_private_key,
        wechat_api_v3_key=keys.api_v3_key,
        wechat_keys=f"{keys.key_id}\n{keys.provider_public_key}{keys.old_certificate}",
    )


def _with_alipay(settings: Settings, keys: AlipayKeys) -> Settings:
    return msgspec.structs.replace(
        settings,
        alipay_app_id=keys.app_id,
        alipay_seller_id=keys.seller_id,
        alipay_private_key=keys.merchant_private_key,
        alipay_public_key=keys.provider_public_key,
    )
