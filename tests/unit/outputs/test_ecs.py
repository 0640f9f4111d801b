"""ECS documents and Community IDs."""

import json
from pathlib import Path
from typing import Any

import pytest

from mtc_sensor.outputs.ecs import EcsLog, community_id, ecs_lines
from tests.unit.outputs.conftest import Make, packed


def document(line: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(line)
    return read


def test_an_alert(make: Make) -> None:
    assert document(ecs_lines(make())[0]) == {
        "@timestamp": "2023-11-14T22:13:21.250000Z",
        "ecs": {"version": "8.11.0"},
        "event": {
            "kind": "alert",
            "category": ["network", "intrusion_detection"],
            "type": ["info"],
            "module": "mtc",
            "dataset": "mtc.verdict",
            "start": "2023-11-14T22:13:20.000000Z",
            "end": "2023-11-14T22:13:21.250000Z",
            "risk_score": 93.75,
        },
        "source": {"ip": "10.0.0.5", "port": 49152},
        "destination": {"ip": "192.0.2.80", "port": 443},
        "network": {
            "type": "ipv4",
            "transport": "tcp",
            "iana_number": "6",
            "community_id": community_id(packed("10.0.0.5"), packed("192.0.2.80"), 49152, 443, 6),
        },
        "message": "10.0.0.5 talks to 192.0.2.80 port 443/tcp like trickbot: model byte-cnn gives "
        "malicious traffic a probability of 0.938",
        "rule": {"name": "MTC::Malicious_Flow", "ruleset": "byte-cnn"},
        "mtc": {
            "uid": "CHhAvVGS1DHFjwGM9",
            "model": "byte-cnn",
            "label": "trickbot",
            "score": 0.9375,
            "malicious": True,
            "unknown": False,
            "kind": "early",
            "packets": 8,
            "detail": "trickbot=0.938",
        },
    }


def test_an_event_accuses_nobody_and_icmp_has_no_ports(make: Make) -> None:
    line = ecs_lines(
        make(malicious=False, label="web", proto=58, orig="2001:db8::1", resp="2001:db8::2")
    )[0]
    read = document(line)
    assert read["event"]["kind"] == "event"
    assert not {"message", "rule"} & read.keys()
    assert "risk_score" not in read["event"]
    assert (read["source"], read["destination"]) == ({"ip": "2001:db8::1"}, {"ip": "2001:db8::2"})
    assert (read["network"]["type"], read["network"]["transport"]) == ("ipv6", "ipv6-icmp")


def test_bytes_in_a_uid_and_absurd_times_still_give_json(make: Make) -> None:
    for ts_us in (2**63 - 1, -(2**62)):
        assert document(ecs_lines(make(uid=b'\xff"\n', ts_us=ts_us))[0])["mtc"]["uid"] == '\\xff"\n'


def test_a_file_has_one_document_per_line(tmp_path: Path, make: Make) -> None:
    with EcsLog(tmp_path / "verdicts.ndjson") as log:
        log.write(make())
        log.write(make().take([0, 0]))
    lines = (tmp_path / "verdicts.ndjson").read_text().splitlines()
    assert [document(line)["mtc"]["packets"] for line in lines] == [8, 8, 8]


# The vectors of the reference implementation, pycommunityid (tests/communityid_test.py), seed 0.
@pytest.mark.parametrize(
    ("proto", "orig", "resp", "orig_p", "resp_p", "expected"),
    [
        (6, "128.232.110.120", "66.35.250.204", 34855, 80, "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
        (6, "66.35.250.204", "128.232.110.120", 80, 34855, "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
        (6, "10.0.0.1", "10.0.0.2", 10, 11569, "1:SXBGMX1lBOwhhoDrZynfROxnhnM="),
        (17, "192.168.1.52", "8.8.8.8", 54585, 53, "1:d/FP5EW3wiY1vCndhwleRRKHowQ="),
        (17, "8.8.8.8", "192.168.1.52", 53, 54585, "1:d/FP5EW3wiY1vCndhwleRRKHowQ="),
        (1, "192.168.0.89", "192.168.0.1", 8, 0, "1:X0snYXpgwiv9TZtqg64sgzUn6Dk="),
        (1, "192.168.0.1", "192.168.0.89", 0, 8, "1:X0snYXpgwiv9TZtqg64sgzUn6Dk="),
        (1, "192.168.0.89", "192.168.0.1", 20, 0, "1:3o2RFccXzUgjl7zDpqmY7yJi8rI="),
        (1, "192.168.0.89", "192.168.0.1", 20, 1, "1:tz/fHIDUHs19NkixVVoOZywde+I="),
        (
            58,
            "fe80::200:86ff:fe05:80da",
            "fe80::260:97ff:fe07:69ea",
            135,
            136,
            "1:dGHyGvjMfljg6Bppwm3bg0LO8TY=",
        ),
        (
            58,
            "3ffe:507:0:1:260:97ff:fe07:69ea",
            "3ffe:507:0:1:200:86ff:fe05:80da",
            3,
            0,
            "1:NdobDX8PQNJbAyfkWxhtL2Pqp5w=",
        ),
        (
            58,
            "3ffe:507:0:1:200:86ff:fe05:80da",
            "3ffe:507:0:1:260:97ff:fe07:69ea",
            3,
            0,
            "1:/OGBt9BN1ofenrmSPWYicpij2Vc=",
        ),
    ],
)
def test_community_ids_are_the_published_ones(
    proto: int, orig: str, resp: str, orig_p: int, resp_p: int, expected: str
) -> None:
    assert community_id(packed(orig), packed(resp), orig_p, resp_p, proto) == expected
