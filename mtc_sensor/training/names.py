"""Names that the tasks know: families, applications and classes of the data sets."""

from __future__ import annotations

MALICIOUS_WORDS = {
    "attack",
    "bad",
    "botnet",
    "c2",
    "exploit",
    "infected",
    "malicious",
    "malware",
    "ransomware",
    "trojan",
}
"""One of these in the ``label`` column makes a file malicious."""
DETECTION_SETS = ("malware", "benign", "ustc-tfc2016", "iscx-vpn")

FAMILIES = ("cerber", "dridex", "hancitor", "matrix", "ramnit", "spora", "ursnif")
"""Families with flows from at least 5 captures of which a third or more are found again, each way,
by their nearest neighbour in other captures: the rest have no face of their own in these bytes."""
EXPLOIT_KITS = {
    "eitest",
    "ek",
    "hoeflertext",
    "kaixin-ek",
    "rig-ek",
    "sundown-ek",
    "terror-ek",
}
"""Families that are ways in: a browser on its way through gates to an exploit kit."""
MALWARE_LABELS = ("benign", *FAMILIES, "exploit-kit", "other-malware")

ATTACKS = {
    "aurora",
    "boa",
    "eternal-exploit",
    "exploit",
    "log4shell",
    "otrf-attack-sim",
    "pcap-attack",
    "petitpotam",
    "printnightmare",
    "pt-other",
    "scanner",
    "shellshock",
    "stopddos",
    "techsupport-scam",
    "webattack",
    "zerologon",
}
"""Attacks on services, scans and floods, not traffic of malware: left out."""

USTC_MALWARE = (
    "Cridex",
    "Geodo",
    "Htbot",
    "Miuref",
    "Neris",
    "Nsis-ay",
    "Shifu",
    "Tinba",
    "Virut",
    "Zeus",
)
USTC = (
    "BitTorrent",
    "FTP",
    "Facetime",
    "Gmail",
    "MySQL",
    "Outlook",
    "SMB",
    "Skype",
    "Weibo",
    "WorldOfWarcraft",
    *USTC_MALWARE,
)
_ISCX = ("chat", "email", "file", "p2p", "streaming", "voip")
ISCX_VPN = tuple(f"{tunnel}_{kind}" for tunnel in ("novpn", "vpn") for kind in _ISCX)
CNAPP = (
    "bilibili",
    "gaodemap",
    "jingdong",
    "meituan",
    "netease",
    "qqmusic",
    "taobao",
    "weibo",
)
ODE = ("0", "1", "2", "3", "4")
"""The classes of ODE-Flow have no names."""

CATEGORIES = ("file", "messaging", "other", "streaming", "voip", "web")
JOY_CATEGORIES = {
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
"""By application: how the names of the captures of iscx-joy begin."""
JOY_APPLICATIONS = tuple(JOY_CATEGORIES)
JOY_LABELS = tuple(sorted(set(JOY_CATEGORIES.values())))
UCDAVIS_CATEGORIES = {
    "google_doc": "web",
    "google_drive": "file",
    "google_music": "streaming",
    "google_search": "web",
    "youtube": "streaming",
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
PROTOCOL_CATEGORIES = {
    family: category for category, families in _PROTOCOLS.items() for family in families.split()
}
"""By family of the set ``benign``."""
