"""The connections of flow assembly against those of a real Zeek, on real captures."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

import pytest

from mtc_sensor.capture.decode import Decoder
from mtc_sensor.capture.flows import FlowSettings, FlowTable
from mtc_sensor.capture.pcap import read_packets
from mtc_sensor.flow import FlowBatch, address_text, unpack_samples

pytestmark = [pytest.mark.zeek, pytest.mark.data, pytest.mark.slow]

CAPTURES = [
    "iscx-vpn/novpn_chat.pcap",
    "iscx-vpn/vpn_voip.dl101.pcap",
    "malware/scanner/synscan.pcap",
    "malware/stopddos/amp.TCP.reflection.SYNACK.pcap",
    "malware/malspam/2017-05-12-FedEx-malspam-traffic.pcap",
    "malware/kovter/2017-05-30-Rig-EK-sends-Kovter-2nd-run.pcap",
    "benign/mercury/smb.pcap",
    "benign/ndpi/srvloc.pcap",
    "ustc-tfc2016/Neris.pcap",
    "ustc-tfc2016/FTP.pcap",
]
PROTOCOLS = {1: "icmp", 58: "icmp", 6: "tcp", 17: "udp"}

Connection = tuple[int, str, str, int, str, int, int, int]
"""Start, protocol, originator, responder (address and port each), packets of either."""


@pytest.mark.parametrize("name", CAPTURES)
def test_same_connections(name: str, data: Path, tmp_path: Path) -> None:
    subprocess.run(["zeek", "-C", "-r", data / name], cwd=tmp_path, check=True, timeout=120)
    assert _ours(data / name) == _of_zeek(tmp_path / "conn.log")


def _ours(capture: Path) -> Counter[Connection]:
    table = FlowTable(FlowSettings(min_packets=1, max_samples=100_000, block_s=1e9))
    decoder = Decoder()
    parts = [table.add(batch, decoder.decode(batch)) for batch in read_packets(capture)]
    flows = FlowBatch.concat([*parts, table.finish()])
    flows = flows.take(flows.kind == 2)
    from_responder = unpack_samples(flows.samples).responder
    rows = flows.sample_rows()
    responder = Counter(rows[from_responder].tolist())
    originator = Counter(rows[~from_responder].tolist())
    return Counter(
        (
            int(flows.start_us[row]),
            PROTOCOLS[int(flows.proto[row])],
            address_text(flows.orig_h[row]),
            int(flows.orig_p[row]),
            address_text(flows.resp_h[row]),
            int(flows.resp_p[row]),
            originator[row],
            responder[row],
        )
        for row in range(len(flows))
    )


def _of_zeek(log: Path) -> Counter[Connection]:
    lines = log.read_text().splitlines()
    names = next(line for line in lines if line.startswith("#fields")).split("\t")[1:]
    rows = [
        dict(zip(names, line.split("\t"), strict=True))
        for line in lines
        if not line.startswith("#")
    ]
    return Counter(
        (
            int(row["ts"].replace(".", "")),
            row["proto"],
            row["id.orig_h"],
            int(row["id.orig_p"]),
            row["id.resp_h"],
            int(row["id.resp_p"]),
            int(row["orig_pkts"]),
            int(row["resp_pkts"]),
        )
        for row in rows
        if row["proto"] in PROTOCOLS.values()
    )
