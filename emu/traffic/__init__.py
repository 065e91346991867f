"""Traffic sources: the packets that exist before the NIC emulator replays them.

``base``       what a flow, a packet and a source are
``synthetic``  packets made up from a seed
``pcap``       packets of a capture file (pcap or pcapng)
``tcp``        live traffic (:class:`TcpSource`): its socket, which the NIC gets
``source``     the SOURCE text that names one of them
"""

from emu.traffic.base import (
    PAYLOAD_MAX,
    TIME_MAX_NS,
    Flow,
    Packet,
    Proto,
    TrafficSource,
)
from emu.traffic.pcap import PcapSource, PcapSummary
from emu.traffic.source import SOURCE_FORMS, parse_source
from emu.traffic.synthetic import SyntheticSource
from emu.traffic.tcp import TcpSource, listen

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
