"""Traffic sources: the packets that exist before the NIC emulator replays them.

``base``       what a flow, a packet and a source are; the SOURCE text
``synthetic``  packets made up from a seed
``pcap``       packets of a capture file (pcap or pcapng)

Live traffic is only named here (:class:`TcpSource`); its socket is the NIC's.
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
    "parse_source",
]
