"""Checksums and hashes as the core computes them."""

from __future__ import annotations

from emu.core._lib import ffi, lib


def crc32c(data: bytes | bytearray | memoryview) -> int:
    """CRC32C of ``data``."""
    return int(lib.zcrx_crc32c(ffi.from_buffer(data), len(data)))


def crc32c_more(crc: int, data: bytes) -> int:
    """CRC32C of bytes whose first part has the CRC32C ``crc`` and whose rest is ``data``."""
    return int(lib.zcrx_crc32c_more(crc, ffi.from_buffer(data), len(data)))


def crc32c_portable(data: bytes) -> int:
    """The same, computed without special instructions."""
    return int(lib.zcrx_crc32c_portable(ffi.from_buffer(data), len(data)))


def crc32c_kind() -> str:
    """What computes CRC32C: ``avx512-vpclmulqdq``, ``sse4.2``, ``armv8-crc``, ``portable``."""
    text: bytes = ffi.string(lib.zcrx_crc32c_kind())
    return text.decode()


def rss_hash(data: bytes) -> int:
    """Toeplitz hash of a flow's addresses and ports, u32."""
    return int(lib.zcrx_rss_hash(ffi.from_buffer("uint8_t[]", data), len(data)))
