"""`mtc-sensor replay --zeek` over captures of many protocols: nothing is shed, nothing lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mtc_sensor.cli import run

pytestmark = [pytest.mark.zeek, pytest.mark.data]
PROTOCOLS = {
    "BitTorrent": "benign/ndpi/bittorrent.pcap",
    "CoAP, MQTT": "benign/ndpi/coap_mqtt.pcap",
    "DNP3": "benign/ndpi/dnp3.pcap",
    "DNS, fragmented": "benign/ndpi/dns_fragmented.pcap",
    "FTP": "benign/ndpi/ftp.pcap",
    "GRE, VXLAN": "benign/ja4/gre-erspan-vxlan.pcap",
    "HTTP, IPv6": "benign/ndpi/http_ipv6.pcap",
    "IMAP": "benign/mercury/imap.pcap",
    "Kerberos": "benign/ndpi/kerberos.pcap",
    "MySQL": "benign/ndpi/mysql.pcap",
    "OpenVPN": "benign/ndpi/openvpn.pcap",
    "QUIC": "benign/ndpi/youtube_quic.pcap",
    "RDP": "benign/ndpi/rdp2.pcap",
    "SIP, RTP": "benign/ndpi/sip.pcap",
    "SMB": "benign/mercury/smb.pcap",
    "SMTP, STARTTLS": "benign/ndpi/smtp-starttls.pcap",
    "SSH": "benign/ndpi/ssh.pcap",
    "TLS, many flows": "benign/ndpi/teams.pcap",
    "Tor": "benign/ndpi/tor.pcap",
    "VXLAN": "benign/mercury/vxlan.pcap",
}
_SHORT = ("FTP", "VXLAN")


@pytest.mark.parametrize("transport", ["zeromq", "websocket"])
@pytest.mark.parametrize(
    "protocol",
    [pytest.param(name, marks=() if name in _SHORT else pytest.mark.long) for name in PROTOCOLS],
)
def test_every_sample_is_judged(
    protocol: str, transport: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capture = str(data / PROTOCOLS[protocol])
    code = run(["replay", "--zeek", "--transport", transport, "--json", capture])
    said = capsys.readouterr()
    assert (code, said.err) == (0, "")
    summary = json.loads(said.out)
    assert summary["exported"] == summary["judged"] > 0
    assert (summary["shed"], summary["lost"]) == (0, 0)
