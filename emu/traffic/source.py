"""The SOURCE text that names a traffic source."""

from __future__ import annotations

from emu.traffic.base import TrafficSource, nearest, traffic_error
from emu.traffic.pcap import PcapSource
from emu.traffic.synthetic import SyntheticSource
from emu.traffic.tcp import TcpSource

#: What SOURCE may be, for messages and help texts.
SOURCE_FORMS = "synthetic[:KEY=VALUE,...], pcap:FILE or tcp:HOST:PORT"

_KINDS = ("synthetic", "pcap", "tcp")


def parse_source(text: str) -> TrafficSource | TcpSource:
    """Parse SOURCE: ``synthetic[:KEY=VALUE,...]``, ``pcap:FILE`` or ``tcp:HOST:PORT``.

    Nothing is opened: a file that is not there shows when its packets are asked for.

    Args:
        text: As typed. The keys of ``synthetic`` are those of :class:`SyntheticSource`.

    Raises:
        TrafficError: Unknown source or key (the nearest name is suggested), or a value that is
            out of range.
    """
    kind, colon, rest = text.partition(":")
    if kind == "synthetic":
        return SyntheticSource.parse(text)
    if kind == "pcap" and rest:
        return PcapSource(rest)
    if kind == "tcp" and colon:
        return TcpSource.parse(text)
    if kind in _KINDS:
        raise traffic_error(text, "incomplete", SOURCE_FORMS)
    if text.endswith((".pcap", ".pcapng", ".cap")):
        suggestion = f"; did you mean {'pcap:' + text!r}?"
    else:
        suggestion = nearest(kind, _KINDS)
    raise traffic_error(text, f"unknown source{suggestion}", SOURCE_FORMS)
