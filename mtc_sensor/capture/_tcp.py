"""TCP state as Zeek 8.2.2 keeps it, as far as it decides where connections begin and end.

Follows src/packet_analysis/protocol/tcp/TCPSessionAdapter.cc (Process, Update*State, IsReuse,
ConnectionClosed) and src/analyzer/protocol/tcp/TCP_Endpoint.cc (SetState, CheckHistory). Two
simplifications: a close does not wait for data that the capture lacks, and what Zeek polls every
6 s (`ExpireTimer`) takes effect at once.
"""

from __future__ import annotations

from typing import Any

from mtc_sensor._jit import inline, inner

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10

# TCP_Endpoint.h; the first three are the handshake.
INACTIVE, SYN_SENT, SYN_ACK_SENT, PARTIAL, ESTABLISHED, CLOSED, RESET = range(7)

# scripts/base/init-bare.zeek
ATTEMPT_DELAY_US = 5_000_000
CLOSE_DELAY_US = 5_000_000
LINGER_US = 5_000_000

INTERACTIVE_PORTS = (21, 22, 23, 513)
"""FTP, SSH, Telnet and rlogin: Conn::port_inactivity_timeouts in conn/inactivity.zeek."""

# What may end a connection before its inactivity timeout.
NOTHING, ATTEMPT, CLOSE, LINGER = range(4)

# Indices of LIMITS.timeout_us.
TCP_TIMEOUT, UDP_TIMEOUT, ICMP_TIMEOUT, INTERACTIVE_TIMEOUT = range(4)


@inline
def port_of(c: Any, side: int) -> int:
    """Return the port of a side of a connection."""
    is_high = side != c.high_first
    ports: int = c.key[4]
    return ports & 0xFFFF if is_high else (ports >> 16) & 0xFFFF


@inline
def flip(c: Any) -> None:
    """Exchange originator and responder, unless they are one and the same."""
    if c.key[0] != c.key[2] or c.key[1] != c.key[3] or port_of(c, 0) != port_of(c, 1):
        c.flip ^= 1


@inline
def is_reuse(c: Any, flags: int, seq: int) -> bool:
    """Tell whether a packet begins a new connection between the same ports (IsReuse)."""
    if not flags & SYN:
        return False
    side = c.flip
    if flags & ACK:
        if c.state[side] != INACTIVE:
            return False
        side = 1 - side
    if c.closed[0] or c.closed[1]:
        return True
    if seq == c.start_seq[side]:
        return False
    # The SYN that a SYN-ACK overtook is not a new connection.
    overtaken = c.state[side] == SYN_ACK_SENT and c.state[1 - side] == INACTIVE
    return not (not flags & ACK and overtaken and seq == c.start_seq[1 - side])


@inline
def attempting(c: Any) -> bool:
    """Tell whether nobody has answered the originator's SYN or SYN-ACK yet."""
    state = c.state[c.flip]
    return state in (SYN_SENT, SYN_ACK_SENT) and c.state[1 - c.flip] == INACTIVE


@inline
def follow(c: Any, side: int, ts: int, flags: int, seq: int, ack: int, length: int) -> None:
    """Take a connection through one packet that `side` sent; may flip it."""
    peer = 1 - side
    from_originator = side == c.flip
    _learn_start_seq(c, side, flags, seq)
    _flip_answered_syn_ack(c, from_originator, flags, length)
    if not (c.closed[0] and c.closed[1]):
        c.last = max(c.last, ts)
    if flags & ACK and c.state[peer] == INACTIVE:
        c.start_seq[peer] = (ack - 1) & 0xFFFFFFFF
    if _transition(c, side, from_originator, ts, flags, length):
        _close(c, side)


@inline
def _learn_start_seq(c: Any, side: int, flags: int, seq: int) -> None:
    state = c.state[side]
    if flags & SYN:
        if state != CLOSED and (state != RESET or c.previous[side] == INACTIVE):
            c.start_seq[side] = seq
    elif state == INACTIVE:
        c.start_seq[side] = (seq - 1) & 0xFFFFFFFF


@inline
def _flip_answered_syn_ack(c: Any, from_originator: bool, flags: int, length: int) -> None:
    """Flip a connection that began with a SYN-ACK once data or an ACK shows it is no scan."""
    if not c.syn_ack_only:
        return
    control = flags & (SYN | FIN | RST)
    if control == 0 and (length > 0 or flags & ACK):
        flip(c)
        c.syn_ack_only = 0
    elif control and not (control == SYN and flags & ACK and from_originator):
        c.syn_ack_only = 0


@inline
def _set_state(c: Any, side: int, state: int) -> None:
    if state == c.state[side]:
        return
    if state >= PARTIAL and c.state[side] < PARTIAL and c.state[1 - side] < PARTIAL:
        c.timeout = TCP_TIMEOUT
    c.previous[side] = c.state[side]
    c.state[side] = state


@inline
def _transition(c: Any, side: int, from_originator: bool, ts: int, flags: int, length: int) -> bool:
    """Update the state of `side`; True when it has closed its half."""
    state = c.state[side]
    if state == INACTIVE:
        return _leave_inactive(c, side, from_originator, ts, flags, length)
    if state == RESET:
        return False
    if state == CLOSED:
        return _reset_after_fin(c, side, flags)
    if state == PARTIAL and flags & SYN and not flags & ACK and c.state[1 - side] == INACTIVE:
        _set_state(c, side, SYN_SENT)
    if flags & FIN and (state < PARTIAL or not flags & RST):
        _set_state(c, side, CLOSED)
        # A FIN and a RST of the peer turn out to have been a normal end.
        if state >= PARTIAL and c.state[1 - side] == RESET and c.previous[1 - side] == CLOSED:
            _set_state(c, 1 - side, CLOSED)
    if flags & RST:
        _set_state(c, side, RESET)
    return flags & (FIN | RST) != 0


@inner
def _leave_inactive(
    c: Any, side: int, from_originator: bool, ts: int, flags: int, length: int
) -> bool:
    if flags & SYN:
        if from_originator:
            _set_state(c, side, SYN_ACK_SENT if flags & ACK else SYN_SENT)
            c.ending = ATTEMPT
            c.due = ts + ATTEMPT_DELAY_US
        else:
            _establish(c, side, flags)
    if flags & FIN:
        _set_state(c, side, CLOSED)
    if flags & RST:
        _set_state(c, side, RESET)
    if c.state[side] == INACTIVE:
        _begin_without_syn(c, side, from_originator, flags, length)
    return flags & (FIN | RST) != 0


@inline
def _establish(c: Any, side: int, flags: int) -> None:
    """Take in the responder's SYN or SYN-ACK."""
    peer = 1 - side
    if not flags & ACK and c.state[peer] == SYN_ACK_SENT:
        # SYN and SYN-ACK were captured in the wrong order.
        flip(c)
        _set_state(c, peer, ESTABLISHED)
    if c.state[peer] == SYN_SENT:
        _set_state(c, peer, ESTABLISHED)
    _set_state(c, side, ESTABLISHED)
    if c.state[peer] != PARTIAL:
        port = port_of(c, 1 - c.flip)
        if port in INTERACTIVE_PORTS:
            c.timeout = INTERACTIVE_TIMEOUT


@inline
def _begin_without_syn(c: Any, side: int, from_originator: bool, flags: int, length: int) -> None:
    if not from_originator and length == 0 and c.state[c.flip] == SYN_SENT:
        return  # some acknowledge a SYN before they answer it
    if flags & ACK and c.state[1 - side] == ESTABLISHED:
        _set_state(c, side, ESTABLISHED)
    else:
        _set_state(c, side, PARTIAL)


@inline
def _reset_after_fin(c: Any, side: int, flags: int) -> bool:
    if not flags & RST or c.state[1 - side] == CLOSED:
        return False
    _set_state(c, side, RESET)
    if c.ending != CLOSE:
        c.ending = LINGER
    return not c.closed[side]


@inline
def _close(c: Any, side: int) -> None:
    """Note that a side has closed; what is closed altogether ends soon after (ConnectionClosed)."""
    if c.closed[side]:
        return
    c.closed[side] = 1
    if c.state[side] == RESET or c.closed[1 - side] or c.state[1 - side] == INACTIVE:
        c.ending = CLOSE
        c.due = c.last + CLOSE_DELAY_US
