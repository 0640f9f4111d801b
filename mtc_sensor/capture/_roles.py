"""Who is the originator: Zeek's `likely_server_ports` and what they decide at a first packet."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtc_sensor._jit import inline
from mtc_sensor.capture._tcp import ACK, SYN
from mtc_sensor.flow import IPV4_MAPPED_PREFIX

# What the base scripts of Zeek 8.2.2 register (Analyzer::register_for_ports and
# PacketAnalyzer::register_for_ports in scripts/base/protocols and scripts/base/packet-protocols).
TCP_SERVER_PORTS = (
    *(21, 2811),  # FTP
    22,  # SSH
    *(25, 587),  # SMTP
    53,  # DNS
    79,  # finger
    *(80, 81, 631, 1080, 3128, 8000, 8080, 8888),  # HTTP, SOCKS
    88,  # Kerberos
    135,  # DCE-RPC
    *(139, 445),  # SMB
    143,  # IMAP
    *(389, 3268),  # LDAP
    *(443, 465, 563, 585, 614, 636, 989, 990, 992, 993, 995, 5223),  # TLS
    502,  # Modbus
    *(1434, 3306),  # MySQL
    1883,  # MQTT
    3389,  # RDP
    *(5222, 5269),  # XMPP
    5432,  # PostgreSQL
    6379,  # Redis
    *(6666, 6667, 6668, 6669),  # IRC
    20000,  # DNP3
)
UDP_SERVER_PORTS = (
    *(53, 137, 5353, 5355),  # DNS
    *(67, 4011),  # DHCP
    88,  # Kerberos
    123,  # NTP
    *(161, 162),  # SNMP
    389,  # LDAP
    443,  # QUIC, DTLS
    514,  # syslog
    1812,  # RADIUS
    *(2123, 2152),  # GTP
    3389,  # RDP
    3544,  # Teredo
    4754,  # GRE
    4789,  # VXLAN
    5060,  # SIP
    5072,  # AYIYA
    6081,  # Geneve
    20000,  # DNP3
)


def _words(address: bytes) -> tuple[int, int]:
    words = np.frombuffer(address, np.int64)
    return int(words[0]), int(words[1])


_IPV4 = _words(IPV4_MAPPED_PREFIX + bytes(4))
_IPV4_MASK = _words(b"\xff" * 12 + bytes(4))
_BROADCAST = _words(IPV4_MAPPED_PREFIX + b"\xff" * 4)
_FIRST_OF_4 = _words(bytes(12) + b"\xff" + bytes(3))
_MULTICAST_4 = _words(bytes(12) + b"\xe0" + bytes(3))
_FIRST_OF_6 = _words(b"\xff" + bytes(15))


def server_port_table() -> NDArray[np.bool_]:
    """Return (2, 65536): whether a port is a likely server port of TCP (row 0) or UDP (row 1)."""
    table = np.zeros((2, 65536), np.bool_)
    table[0, list(TCP_SERVER_PORTS)] = True
    table[1, list(UDP_SERVER_PORTS)] = True
    return table


@inline
def receiver_originates(
    server_ports: NDArray[np.bool_], proto: int, flags: int, sport: int, dport: int
) -> bool:
    """Tell whether a first packet looks like a server's (WantConnection in TCP.cc and UDP.cc)."""
    if proto == 17:
        return bool(server_ports[1, sport] and not server_ports[1, dport])
    if proto != 6 or (flags & SYN and not flags & ACK) or not server_ports[0, sport]:
        return False
    if server_ports[0, dport]:
        return not flags & SYN and sport < dport
    return True


@inline
def is_broadcast(address: NDArray[np.int64]) -> bool:
    """Tell whether an address, as two words, is 255.255.255.255 (IPAddr::IsBroadcast)."""
    return bool(address[0] == _BROADCAST[0] and address[1] == _BROADCAST[1])


@inline
def is_multicast(address: NDArray[np.int64]) -> bool:
    """Tell whether Zeek takes an address for a multicast one: 224/8 or ff00::/8 (IsMulticast)."""
    if address[0] == _IPV4[0] and address[1] & _IPV4_MASK[1] == _IPV4[1]:
        return bool(address[1] & _FIRST_OF_4[1] == _MULTICAST_4[1])
    return bool(address[0] & _FIRST_OF_6[0] == _FIRST_OF_6[0])
