"""The task of the FlowPic CNN: what kind of traffic a flow is, by sizes and times alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.features.spec import FlowPicSpec
from mtc_sensor.flow import FlowBatch, Kind
from mtc_sensor.training.datasets import Labelled, Source, labelled, read_manifest, read_pcap
from mtc_sensor.training.times_sizes import read_joy, read_ucdavis

SETS = ("iscx-joy", "ucdavis-quic", "benign")
LABELS = ("file", "messaging", "other", "streaming", "voip", "web")
MIN_PACKETS = 10
"""Fewest packets of a record that says anything about its category."""
SPEC = FlowPicSpec(resolution=32, window_s=15.0, direction=True, size="payload", max_size=1500)

_JOY = {
    "aim_chat": "messaging",
    "email": "messaging",
    "facebook_audio": "voip",
    "facebook_chat": "messaging",
    "facebook_video": "voip",
    "ftps": "file",
    "hangouts_audio": "voip",
    "hangouts_chat": "messaging",
    "hangouts_video": "voip",
    "icq_chat": "messaging",
    "netflix": "streaming",
    "sftp": "file",
    "skype_audio": "voip",
    "skype_chat": "messaging",
    "skype_files": "file",
    "skype_video": "voip",
    "spotify": "streaming",
    "vimeo": "streaming",
    "voipbuster": "voip",
    "youtube": "streaming",
}
_UCDAVIS = {
    "Google_Doc": "web",
    "Google_Drive": "file",
    "Google_Music": "streaming",
    "Google_Search": "web",
    "Youtube": "streaming",
}
_PROTOCOLS = {
    "file": "443-git afp dropbox ftp ftp-start-tls ftp_exposed_creds git nfsv rsync smb smb_frags "
    "smbv ssh-scp syncthing tftp webdav whatsappfiles windowsupdate_over_http youtubeupload",
    "messaging": "dingtalk discord google_chat imap imap-starttls imaps irc jabber line "
    "mail_receiver_server mail_sender_attachment mail_sender_client mail_sender_server oicq oscar "
    "pop pop3_stls pops signal smtp smtp-starttls smtps telegram threema viber wechat whatsapp "
    "whatsapp_login_chat",
    "other": "amqp anydesk bacnet beckhoff_ads cassandra ceph check_mk_new coap_mqtt collectd "
    "dcerpc dlms dnp dns dns_doh dns_dot doh doq drda_db elasticsearch ethernetip iec iec60780-5 "
    "kafka kerberos kerberos-login ldap_exposed_creds memcached modbus mongodb mqtt mssql_tds "
    "munin mysql netbios nomachine openvpn oracle pgsql rdp redis redis_exposed_creds s7comm "
    "s7comm-plus snmp ssh ssh-r ssh_frag sshv stomp syslog teamviewer telnet tor vnc wireguard "
    "xdmcp zabbix",
    "streaming": "1kxun dazn hls iqiyi mpeg mpeg-dash mpegts netflix pluralsight rtmp "
    "rtsp_setup_http spotify_tcp tivodvr youtube_quic zattoo",
    "voip": "agora-sd-rtn fax-call-t38-ca-tdm-sip-fb google_meet iax imo mumble rtp sip "
    "skype-conference-call snapchat_call snapchat_call_v stun_dtls_rtp stun_google_meet "
    "stun_wa_call stun_zoom teams teamspeak telegram_videocall wa_video wa_voice webex "
    "whatsapp_login_call zoom zoom_p2p",
    "web": "443-chrome 443-curl 443-firefox 443-safari adult_content browsers-x chrome facebook "
    "firefox google_ssl http http1-with-cookies http2-with-cookies http_espn http_google http_ipv "
    "instagram pinterest quic reddit safari tumblr vk yandex",
}
_PCAPS = {family: label for label, names in _PROTOCOLS.items() for family in names.split()}


def read_task(data: Path) -> Labelled:
    """Read the sets and label their block and final records with `LABELS`."""
    sources = [s for s in read_manifest(data, SETS) if label_of(s) is not None]
    return labelled(data, sources, _label_records, _read)


def label_of(source: Source) -> str | None:
    """Return the category of a file, or None where its name does not say one."""
    name = Path(source.path).name.split(".")[0]
    if source.set == "ucdavis-quic":
        return _UCDAVIS.get(name)
    if source.set == "benign":
        return _PCAPS.get(source.family)
    family = source.label.split("_", 1)[1]
    return next((label for prefix, label in _JOY.items() if family.startswith(prefix)), None)


def _read(path: Path) -> FlowBatch:
    if path.suffix == ".npz":
        return read_ucdavis(path)
    return read_joy(path) if path.suffix == ".gz" else read_pcap(path)


def _label_records(source: Source, flows: FlowBatch) -> NDArray[np.int64]:
    judged = (flows.kind != Kind.EARLY) & (flows.packets >= MIN_PACKETS)
    return np.where(judged, LABELS.index(label_of(source) or ""), -1)
