"""Packets in, flow records out: pcap and interfaces, without Zeek."""
