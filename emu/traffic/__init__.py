"""Traffic sources: the packets that exist before the NIC emulator replays them.

``base``       what a flow, a packet and a source are; the SOURCE text
``synthetic``  packets made up from a seed
``pcap``       packets of a capture file (pcap or pcapng)
``tcp``        the socket of live traffic (:class:`TcpSource`), which the NIC gets
"""

from emu.traffic.base import (
    PAYLOAD_MAX,
    SOURCE_FORMS,
    TIME_MAX_NS,
    Flow,
    Packet,
    Proto,
    TcpSource,
    TrafficSource,
    parse_source,
)
from emu.traffic.pcap import PcapSource, PcapSummary
from emu.traffic.synthetic import SyntheticSource
from emu.traffic.tcp import listen

__all__ = [
    "PAYLOAD_MAX",
    "SOURCE_FORMS",
    "TIME_MAX_NS",
    "Flow",
    "Packet",
    "PcapSource",
    "PcapSummary",
    "Proto",
    "SyntheticSource",
    "TcpSource",
    "TrafficSource",
    "listen",
    "parse_source",
]
