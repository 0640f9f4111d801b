import gzip
from pathlib import Path

import numpy as np
import pytest

from mtc_sensor.capture.flows import FlowSettings
from mtc_sensor.errors import CaptureError
from mtc_sensor.flow import address_texts, unpack_samples
from mtc_sensor.training.documents import read_packet_rows, read_vectors, read_zeek_log

SETTINGS = FlowSettings(head_bytes=40)
CONN = ("ts", "uid", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "proto", "service")
SSL = (*CONN[:6], "version", "cipher", "server_name", "subject", "issuer", "cert_chain_fuids")


def log(path: Path, fields: tuple[str, ...], *rows: str) -> Path:
    lines = ["#separator \\x09", "#path\tx", "\t".join(("#fields", *fields))]
    text = "\n".join([*lines, *("\t".join(row.split(" ")) for row in rows), "#close"]) + "\n"
    path.write_bytes(gzip.compress(text.encode()))
    return path


def test_conn_log_with_a_label_per_line(tmp_path: Path) -> None:
    path = log(
        tmp_path / "conn.log.labeled.gz",
        (*CONN, "conn_state", "history", "label"),
        "7.25 C1 10.0.0.1 1234 10.0.0.2 443 tcp ssl,http SF ShAD Benign",
        "8 C2 2001:db8::1 5353 ff02::fb 5353 udp - S0 - (empty)",
    )
    ((batch, labels),) = read_zeek_log(path, SETTINGS)
    assert batch.packets.tolist() == batch.heads.tolist() == [0, 0]
    assert batch.head.shape == (0, 40)
    assert batch.proto.tolist() == [6, 17]
    assert batch.start_us.tolist() == [7_250_000, 8_000_000]
    assert address_texts(batch.resp_h) == ["10.0.0.2", "ff02::fb"]
    assert batch.documents() == [
        "ip:4 transport:tcp port:443 service:ssl service:http conn_state:SF history:ShAD",
        "ip:6 transport:udp port:registered conn_state:S0",
    ]
    assert labels is not None
    assert labels.tolist() == ["Benign", "unlabelled"]


def test_ssl_log_in_the_words_of_our_script(tmp_path: Path) -> None:
    path = log(
        tmp_path / "ssl.log.gz",
        SSL,
        "7 C1 10.0.0.1 1234 10.0.0.2 443 TLSv13 unknown-4866 example.org CN=a CN=a F1,F2",
    )
    ((batch, labels),) = read_zeek_log(path, SETTINGS)
    assert labels is None
    assert batch.documents() == [
        "ip:4 transport:tcp port:443 service:ssl tls:303 sni_length:8 sni_labels:2 sni_entropy:7 "
        "cert:self_signed chain:2 log_cipher:unknown-4866"
    ]


@pytest.mark.parametrize(
    ("fields", "row", "message"),
    [
        (CONN, "7 C1 10.0.0.1 1234 10.0.0.2 443 tcp", "line 4: 7 fields, where #fields names 8"),
        (CONN, "7 C1 nobody 1234 10.0.0.2 443 tcp -", "lines 4 to 4: not a conn.log or ssl.log"),
        (CONN, "7 C1 10.0.0.1 99999 10.0.0.2 443 tcp -", "lines 4 to 4: not a conn.log"),
        (CONN, "inf C1 10.0.0.1 9 10.0.0.2 443 tcp -", "lines 4 to 4: not a conn.log"),
        (("ts", "uid"), "7 C1", "lines 4 to 4: not a conn.log"),
    ],
)
def test_other_logs(tmp_path: Path, fields: tuple[str, ...], row: str, message: str) -> None:
    with pytest.raises(CaptureError, match=message):
        list(read_zeek_log(log(tmp_path / "conn.log.gz", fields, row), SETTINGS))


def test_packet_rows_have_no_addresses_and_no_times(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(
        "2021-04-25 14:17:22,10.1.2.3,10.3.2.1,219,"
        "Ether / IP / TCP 10.1.2.3:50869 > 10.3.2.1:7826 PA / Raw,50869,7826,TCP,good\n"
        "1970-01-01 08:00:12,08:00:27:12:45:de,ff:ff:ff:ff:ff:ff,ARP,42,"
        "Ether / ARP who has 10.0.0.1, says 10.0.0.2,UnKnow,UnKnow,bad\n"
    )
    ((batch, labels),) = read_packet_rows(path, SETTINGS)
    assert labels is None
    assert unpack_samples(batch.samples).ip_len.tolist() == [205, 28]
    assert not batch.orig_h.any()
    assert not batch.start_us.any()
    assert batch.documents() == [
        "protocol:TCP summary:Ether summary:IP summary:TCP summary:PA summary:Raw "
        "source:dynamic port:registered",
        "protocol:ARP summary:Ether summary:ARP summary:who summary:has summary:says "
        "source:none port:none",
    ]


@pytest.mark.parametrize("row", ["", "a,b", "t,a,b,x,y,z,1,2,c"])
def test_rows_of_nothing(tmp_path: Path, row: str) -> None:
    (tmp_path / "x.csv").write_text(row + "\n")
    with pytest.raises(CaptureError, match=r"x\.csv: line 1 or before: no row of a packet"):
        list(read_packet_rows(tmp_path / "x.csv", SETTINGS))


def test_vectors_and_the_labels_beside(tmp_path: Path) -> None:
    (tmp_path / "cert_X.txt").write_text("[1.0, 0.1234]\n[-2, 1e9]\n")
    (tmp_path / "cert_y.txt").write_text("0\n1\n")
    ((batch, labels),) = read_vectors(tmp_path / "cert_X.txt", SETTINGS)
    assert batch.documents() == ["value0:1 value1:0.12", "value0:-2 value1:1e+09"]
    assert np.array_equal(labels if labels is not None else [], ["0", "1"])
    (tmp_path / "cert_X.txt").write_text('[1.0, 0.1234]\n["x"]\n')
    with pytest.raises(CaptureError, match="line 2: no JSON array of numbers"):
        list(read_vectors(tmp_path / "cert_X.txt", SETTINGS))
