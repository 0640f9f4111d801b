"""The same rows through a real Zeek's ASCII writer and through ours: equal to the byte."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mtc_sensor.flow import address_texts
from mtc_sensor.outputs.notice import messages, notice_columns
from mtc_sensor.outputs.zeek_format import Column
from mtc_sensor.outputs.zeek_log import MTC_LOG, NOTICE_LOG, Schema, ZeekLog, verdict_columns
from tests.unit.outputs.conftest import make_verdict, packed

pytestmark = pytest.mark.zeek

STRINGS = [
    b"plain",
    b"",
    b"-",
    b"(empty)",
    b"#",
    b"a\tb\nc\rd\x08\x0c\x0b",
    b"\\",
    b"\\x41",
    b'"quoted", and more/less',
    "ñ₡𐌼".encode(),
    "ñ\x07".encode(),
    "ñ\\ñ\x07\tñ,ñ\x01".encode(),
    b"\xc3\x28\xe2\x82",
    b"\xed\xa0\x80",
    "\ue000".encode(),
    "\ufffd\u0085".encode(),
    bytes(range(1, 256)),
]
DOUBLES = [0.0, 1.0, -1.5, 0.9375, 1 / 3, 1e-7, 1.5e-5, 0.0001, 0.9999999, 1e15, 1e20, 1e22, 3e9]
TIMES_US = [0, 1, 999_999, 1_700_000_000_123_450, 1_700_000_000_000_001, 4_294_967_295_999_999]
ADDRESSES = ["0.0.0.0", "192.0.2.80", "::", "::1", "::2", "2001:db8::5", "1:0:0:2::3"]
ODD_ADDRESSES = ["::0.1.0.2", "::192.0.2.80", "::ffff:0:192.0.2.80", "2001:db8:0:1:1:1:1:1"]

ODD = Schema(
    "odd",
    (
        ("s", "string"),
        ("d", "double"),
        ("t", "time"),
        ("i", "interval"),
        ("a", "addr"),
        ("n", "subnet"),
        ("p", "port"),
        ("c", "count"),
        ("z", "int"),
        ("b", "bool"),
        ("e", "enum"),
        ("vs", "vector[string]"),
        ("vd", "vector[double]"),
        ("sc", "set[count]"),
        ("u", "string"),
    ),
)


def zeek_run(folder: Path, script: str, as_json: bool) -> None:
    """Run a script, without traffic, in a folder where its logs will be."""
    (folder / "x.zeek").write_text(script)
    setting = f"LogAscii::use_json={'T' if as_json else 'F'}"
    subprocess.run(["zeek", "-b", "x.zeek", setting], cwd=folder, check=True, timeout=60)


def literal(raw: bytes) -> str:
    """Write a string as Zeek's scripts have it."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in raw) + '"'


def undated(path: Path) -> str:
    return re.sub(r"(?m)^(#open|#close)\t.*$", r"\1\t", path.read_text())


def compare(folder: Path, schema: Schema, columns: dict[str, Column], as_json: bool) -> None:
    ours = folder / "ours.log"
    with ZeekLog(ours, schema, json=as_json) as log:
        log.write(columns)
    assert undated(ours) == undated(folder / f"{schema.path}.log")


def odd_columns() -> dict[str, Column]:
    """One row per odd string, with every other type beside it."""
    rows = range(len(STRINGS))
    addresses = [*ADDRESSES, *ODD_ADDRESSES]
    return {
        "s": STRINGS,
        "d": [DOUBLES[i % len(DOUBLES)] for i in rows],
        "t": [TIMES_US[i % len(TIMES_US)] for i in rows],
        "i": [-TIMES_US[i % len(TIMES_US)] for i in rows],
        "a": [addresses[i % len(addresses)] for i in rows],
        "n": [["192.0.2.0/24", "2001:db8::/32"][i % 2] for i in rows],
        "p": [[0, 443, 65535][i % 3] for i in rows],
        "c": [[0, 2**64 - 1][i % 2] for i in rows],
        "z": [[0, -(2**62)][i % 2] for i in rows],
        "b": [i % 2 == 0 for i in rows],
        "e": [["tcp", "udp", "icmp", "unknown_transport"][i % 4] for i in rows],
        "vs": [(STRINGS[i], STRINGS[-i - 1]) if i else () for i in rows],
        "vd": [(DOUBLES[i % len(DOUBLES)],) if i else () for i in rows],
        "sc": [(i,) if i else () for i in rows],
        "u": [None for _ in rows],
    }


def address_literal(text: str) -> str:
    return f"[{text}]" if ":" in text else text


def subnet_literal(text: str) -> str:
    address, _, width = text.partition("/")
    return f"{address_literal(address)}/{width}"


LITERALS: dict[str, Callable[[Any], str]] = {
    "string": literal,
    "double": lambda v: f"{v!r}",
    "time": lambda v: f"double_to_time({v / 1e6!r})",
    "interval": lambda v: f"double_to_interval({v / 1e6!r})",
    "addr": address_literal,
    "subnet": subnet_literal,
    "port": lambda v: f"{v}/tcp",
    "count": str,
    "int": lambda v: f"{v}",
    "bool": lambda v: "T" if v else "F",
    "enum": str,
    "vector[string]": lambda v: f"vector({','.join(map(literal, v))})",
    "vector[double]": lambda v: f"vector({','.join(map(repr, v))})",
    "set[count]": lambda v: f"set({','.join(map(str, v))})",
}
ZEEK_TYPES = {
    "enum": "transport_proto",
    "vector[string]": "vector of string",
    "vector[double]": "vector of double",
}


def odd_script(columns: dict[str, Column]) -> str:
    fields = "\n".join(
        f"    {name}: {ZEEK_TYPES.get(kind, kind)} &log &optional;" for name, kind in ODD.fields
    )
    writes = []
    for row in range(len(STRINGS)):
        values = [
            f"${name}={LITERALS[kind](columns[name][row])}"
            for name, kind in ODD.fields
            if columns[name][row] is not None
        ]
        writes.append(f"    Log::write(Odd::LOG, Odd::Info({', '.join(values)}));")
    return (
        "module Odd;\nexport {\n  redef enum Log::ID += { LOG };\n"
        f"  type Info: record {{\n{fields}\n  }};\n}}\n"
        "event zeek_init()\n    {\n"
        '    Log::create_stream(Odd::LOG, Log::Stream($columns=Info, $path="odd"));\n'
        + "\n".join(writes)
        + "\n    }\n"
    )


@pytest.mark.parametrize("as_json", [False, True])
def test_odd_values(tmp_path: Path, as_json: bool) -> None:
    columns = odd_columns()
    zeek_run(tmp_path, odd_script(columns), as_json)
    compare(tmp_path, ODD, columns, as_json)


def test_addresses_from_bytes(tmp_path: Path) -> None:
    texts = [*ADDRESSES, *ODD_ADDRESSES]
    prints = "\n".join(f"print f, {address_literal(text)};" for text in texts)
    zeek_run(tmp_path, f'event zeek_init() {{ local f = open("out");\n{prints} }}', False)
    raw = np.frombuffer(b"".join(map(packed, texts)), np.uint8).reshape(-1, 16)
    assert (tmp_path / "out").read_text().splitlines() == address_texts(raw)


@pytest.mark.parametrize("as_json", [False, True])
def test_mtc_log(tmp_path: Path, as_json: bool) -> None:
    types = {"enum": "transport_proto"}
    fields = "\n".join(
        f"    {name}: {types.get(kind, kind)} &log &optional;"
        for name, kind in MTC_LOG.fields
        if not name.startswith("id.")
    ).replace("    proto:", "    id: conn_id &log;\n    proto:")
    script = f"""
module MTC;
export {{
  redef enum Log::ID += {{ LOG }};
  type Info: record {{
{fields}
  }};
}}
event zeek_init()
    {{
    Log::create_stream(MTC::LOG, Log::Stream($columns=Info, $path="mtc"));
    Log::write(MTC::LOG, Info($ts=double_to_time(1700000001.25), $uid="CHhAvVGS1DHFjwGM9",
        $id=conn_id($orig_h=10.0.0.5, $orig_p=49152/tcp, $resp_h=192.0.2.80, $resp_p=443/tcp),
        $proto=tcp, $model="byte-cnn", $label="trickbot", $score=0.9375, $malicious=T, $unknown=F,
        $kind="early", $packets=8, $latency=250usec, $detail="trickbot=0.938"));
    }}
"""
    zeek_run(tmp_path, script, as_json)
    compare(tmp_path, MTC_LOG, verdict_columns(make_verdict(latency_us=250)), as_json)


@pytest.mark.parametrize("as_json", [False, True])
def test_notice_log(tmp_path: Path, as_json: bool) -> None:
    verdicts = make_verdict()
    columns = notice_columns(verdicts)
    script = f"""
@load base/frameworks/notice
module MTC;
export {{ redef enum Notice::Type += {{ Malicious_Flow }}; }}
event zeek_init()
    {{
    NOTICE(Notice::Info($note=Malicious_Flow, $ts=double_to_time(1700000001.25),
        $uid="CHhAvVGS1DHFjwGM9", $identifier="x",
        $id=conn_id($orig_h=10.0.0.5, $orig_p=49152/tcp, $resp_h=192.0.2.80, $resp_p=443/tcp),
        $msg="{messages(verdicts)[0]}", $sub="{columns["sub"][0]}"));
    }}
"""
    zeek_run(tmp_path, script, as_json)
    compare(tmp_path, NOTICE_LOG, columns, as_json)
