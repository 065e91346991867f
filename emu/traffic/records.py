"""Records of a capture file: pcap (micro- or nanoseconds, either byte order) and pcapng.

Either may be compressed with gzip, as its content tells: it is unpacked piece by piece, so that
what is in memory does not depend on how much comes out.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, Protocol

#: The largest record that is read into memory; libpcap's bound on pcapng blocks.
RECORD_MAX = 16 << 20
#: Bytes that may come out of a compressed file: a thousandth of them is enough to make them.
UNPACKED_MAX = 1 << 30


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes:
        """Read so many bytes; fewer at the end only."""


class Unpacked:
    """What comes out of a file that is compressed with gzip."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = gzip.GzipFile(fileobj=file)
        self._left = UNPACKED_MAX

    def read(self, size: int, /) -> bytes:
        """Read so many bytes; fewer at the end only.

        Raises:
            BrokenFileError: It is damaged or cut from here on, or more comes out than is taken.
        """
        try:
            data = self._file.read(size)
        except EOFError:
            raise BrokenFileError("truncated (gzip)") from None
        except (gzip.BadGzipFile, zlib.error):
            raise BrokenFileError("damaged (gzip)") from None
        self._left -= len(data)
        if self._left < 0:
            much = f"more than {UNPACKED_MAX >> 20} MiB come out of it"
            raise NoCaptureError(f"{much}: unpack it first")
        return data


class Frame(NamedTuple):
    link: int  #: LINKTYPE_ of the interface
    data: bytes  #: what was captured
    wire_size: int  #: bytes that it had on the wire
    time_ns: int | None  #: since 1970 or any other moment; None: not recorded


class BrokenFileError(Exception):
    """The file is a capture, but from here on it makes no sense; the text says why."""


class NoCaptureError(Exception):
    """The file is no capture that can be read here; the text says why."""


#: First four bytes of a pcap file: byte order for struct, nanoseconds in a tick.
_PCAP_MAGICS = {
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\x3c\x4d": (">", 1),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
}
_PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"  #: type of a section header block, in both byte orders
_GZIP_MAGIC = b"\x1f\x8b"
#: Others that captures are kept in; they are not unpacked here, but named.
_COMPRESSIONS = {
    _GZIP_MAGIC: "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
    b"\xfd7zX": "xz",
    b"BZh": "bzip2",
}

_SHB, _IDB, _PB, _SPB, _EPB = 0x0A0D0D0A, 1, 2, 3, 6  #: pcapng block types
_BYTE_ORDER_MAGIC = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}
_IF_TSRESOL, _IF_TSOFFSET = 9, 14  #: options of an interface


def read_frames(file: BinaryIO) -> Iterator[Frame]:
    """Yield the frames of a capture file, plain or compressed with gzip.

    What it is is told by its content, not by its name.

    Raises:
        NoCaptureError: It is no capture.
        BrokenFileError: It is damaged or cut; the frames before that have been yielded.
    """
    data: _Readable = file
    magic = file.read(len(_GZIP_MAGIC))
    file.seek(0)
    if magic == _GZIP_MAGIC:
        data = Unpacked(file)
    magic = data.read(4)
    if magic in _PCAP_MAGICS:
        return _pcap_frames(data, *_PCAP_MAGICS[magic])
    if magic == _PCAPNG_MAGIC:
        return _pcapng_frames(data)
    if not magic:
        raise NoCaptureError("empty")
    for start, name in _COMPRESSIONS.items():
        if magic.startswith(start):
            again = " inside gzip" if data is not file else ""
            raise NoCaptureError(f"compressed with {name}{again}: unpack it first")
    raise NoCaptureError("not a capture")


def _exactly(file: _Readable, size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise BrokenFileError("truncated")
    return data


def _pcap_frames(file: _Readable, order: str, tick_ns: int) -> Iterator[Frame]:
    """Yield the frames of a pcap file, whose magic was read.

    Source: IETF draft-ietf-opsawg-pcap; the upper half of the link type is about a trailing FCS.
    """
    major, minor, link = struct.unpack(order + "HH12xI", _exactly(file, 20))
    if major != 2:
        raise NoCaptureError(f"pcap version {major}.{minor}, not 2.x")
    record = struct.Struct(order + "IIII")
    while header := file.read(record.size):
        if len(header) < record.size:
            raise BrokenFileError("truncated")
        seconds, ticks, size, wire_size = record.unpack(header)
        if size > RECORD_MAX:
            raise BrokenFileError(f"a record of {size} bytes, more than {RECORD_MAX},")
        data = _exactly(file, size)
        yield Frame(link & 0xFFFF, data, wire_size, seconds * 10**9 + ticks * tick_ns)


class _Interface(NamedTuple):
    link: int
    snaplen: int  #: 0: no limit
    ticks_per_second: int
    offset_s: int

    def time_ns(self, high: int, low: int) -> int:
        ticks = high << 32 | low
        return self.offset_s * 10**9 + ticks * 10**9 // self.ticks_per_second


def _pcapng_frames(file: _Readable) -> Iterator[Frame]:
    """Yield the frames of a pcapng file, whose first four bytes were read.

    Each section has its own byte order and interfaces. Blocks other than packets are passed over.

    Source: IETF draft-ietf-opsawg-pcapng.
    """
    order, interfaces = "<", list[_Interface]()
    block_type_raw = _PCAPNG_MAGIC
    while block_type_raw:
        if len(block_type_raw) < 4:
            raise BrokenFileError("truncated")
        if block_type_raw == _PCAPNG_MAGIC:
            size_raw, order_raw = struct.unpack("4s4s", _exactly(file, 8))
            if order_raw not in _BYTE_ORDER_MAGIC:
                raise BrokenFileError("a section header without a byte order")
            order, interfaces = _BYTE_ORDER_MAGIC[order_raw], []
            block_type, read = _SHB, 12
        else:
            size_raw = _exactly(file, 4)
            (block_type,) = struct.unpack(order + "I", block_type_raw)
            read = 8
        (size,) = struct.unpack(order + "I", size_raw)
        if not read + 4 <= size <= RECORD_MAX or size % 4:
            raise BrokenFileError(f"a block of {size} bytes")
        body = _exactly(file, size - read)
        if body[-4:] != size_raw:
            raise BrokenFileError("a block whose two lengths differ")
        frame = _pcapng_block(order, block_type, body[:-4], interfaces)
        if frame is not None:
            yield frame
        block_type_raw = file.read(4)


def _pcapng_block(
    order: str, block_type: int, body: bytes, interfaces: list[_Interface]
) -> Frame | None:
    """Decode one block: a frame, or None if it has none. Interfaces are added to the list."""
    try:
        if block_type == _SHB:
            major, minor = struct.unpack_from(order + "HH", body)
            if major != 1:
                raise BrokenFileError(f"a section of version {major}.{minor}, not 1.x,")
        elif block_type == _IDB:
            interfaces.append(_interface(order, body))
        elif block_type == _SPB:
            (wire_size,) = struct.unpack_from(order + "I", body)
            size = min(wire_size, interfaces[0].snaplen or wire_size)
            return Frame(interfaces[0].link, _slice(body, 4, size), wire_size, None)
        elif block_type in (_EPB, _PB):
            # The obsolete PB differs in the interface's 16 bits; the rest counts drops.
            fields = "IIIII" if block_type == _EPB else "H2xIIII"
            number, high, low, size, wire_size = struct.unpack_from(order + fields, body)
            interface = interfaces[number]
            time_ns = interface.time_ns(high, low)
            return Frame(interface.link, _slice(body, 20, size), wire_size, time_ns)
    except struct.error:
        raise BrokenFileError("a block too short for its type") from None
    except IndexError:
        raise BrokenFileError("a packet of an interface that was not described") from None
    return None


def _slice(body: bytes, start: int, size: int) -> bytes:
    if start + size > len(body):
        raise BrokenFileError("a packet longer than its block")
    return body[start : start + size]


def _interface(order: str, body: bytes) -> _Interface:
    link, snaplen = struct.unpack_from(order + "H2xI", body)
    ticks_per_second, offset_s = 10**6, 0
    at = 8
    while at + 4 <= len(body):
        code, size = struct.unpack_from(order + "HH", body, at)
        value = body[at + 4 : at + 4 + size]
        if code == 0:
            break
        if code == _IF_TSRESOL and len(value) == 1:
            ticks_per_second = (2 if value[0] & 0x80 else 10) ** (value[0] & 0x7F)
        elif code == _IF_TSOFFSET and len(value) == 8:
            (offset_s,) = struct.unpack(order + "q", value)
        at += 4 + (size + 3 & ~3)
    return _Interface(link, snaplen, ticks_per_second, offset_s)
