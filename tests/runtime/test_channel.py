"""The control channel: whole messages, descriptors beside them, and the end of the peer."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
from collections.abc import Iterator

import pytest

from emu.runtime.channel import TEXT_MAX, Channel, Event, NonsenseError, Word


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    ours, sock = Channel.pair()
    theirs = Channel(sock)
    yield ours, theirs
    ours.close()
    theirs.close()


def test_messages_keep_their_boundaries_and_order(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    sent = [{"n": n, "text": "ü\n" * n, "list": [1.5, None, True]} for n in range(5)]
    for message in sent:
        ours.send(message)
    assert [theirs.receive() for _ in sent] == [(message, []) for message in sent]


def test_both_directions_are_independent(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    ours.send({"to": "them"})
    theirs.send({"to": "us"})
    assert ours.receive() == ({"to": "us"}, [])
    assert theirs.receive() == ({"to": "them"}, [])


def test_descriptors_arrive_with_their_message_in_order(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    pipes = [os.pipe() for _ in range(8)]
    ours.send({"pipes": len(pipes)}, tuple(write for _, write in pipes))
    received = theirs.receive()
    assert received is not None
    message, fds = received
    assert message == {"pipes": 8}
    for number, ((read, write), fd) in enumerate(zip(pipes, fds, strict=True)):
        os.close(write)
        os.write(fd, bytes([number]))
        os.close(fd)
        assert os.read(read, 10) == bytes([number])
        assert os.read(read, 10) == b"", "there is no further copy of the descriptor"
        os.close(read)


def test_large_message_is_one_message(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    message = {"paths": ["/a/long/path/of/a/module" * 4] * 1000}
    ours.send(message)
    assert theirs.receive() == (message, [])


def test_message_larger_than_any_socket_takes_arrives_whole(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    message = {"ordinals": list(range(500_000))}
    read, write = os.pipe()
    ours.send(message, (write,))
    ours.send({"next": 1})
    os.close(write)
    received = theirs.receive()
    assert received is not None
    assert received[0] == message
    (fd,) = received[1]
    os.write(fd, b"x")
    os.close(fd)
    assert os.read(read, 10) == b"x"
    assert os.read(read, 10) == b""
    os.close(read)
    assert theirs.receive() == ({"next": 1}, [])


def test_end_of_the_peer_ends_the_channel(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    theirs.send({"last": "word"})
    theirs.close()
    assert ours.receive() == ({"last": "word"}, [])
    assert ours.receive() is None
    with pytest.raises(OSError, match="Broken pipe"):
        ours.send({"anybody": "there"})


def test_peer_that_dies_with_unread_messages_is_gone_too(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    ours.send({"never": "read"})
    theirs.close()
    assert ours.receive() is None


def test_channel_can_be_waited_for(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    poller = select.poll()
    poller.register(ours.fileno(), select.POLLIN)
    assert poller.poll(0) == []
    theirs.send({})
    assert poller.poll(0) == [(ours.fileno(), select.POLLIN)]


# ---- What a worker says --------------------------------------------------------------------------


def test_words_arrive_as_they_were_said(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    assert ours.hear() is None
    theirs.say(Event.ATTACHED)
    theirs.say(Event.ERROR, text="an error", traceback="line 1\n  line 2\n")
    theirs.say(Event.ANSWER, number=2**64 - 1, more=-5)
    assert ours.hear() == Word(Event.ATTACHED)
    assert ours.hear() == Word(Event.ERROR, "an error", "line 1\n  line 2\n")
    assert ours.hear() == Word(Event.ANSWER, number=2**64 - 1, more=-5)
    assert ours.hear() is None
    theirs.close()
    assert ours.hear() is None
    assert not ours.is_open


@pytest.mark.parametrize(
    ("text", "heard"),
    [
        ("a\nb\tc  d", "a\\nb\\tc  d"),
        ("\x1b[2J\0[/bold]", "\\x1b[2J\\x00[/bold]"),
        ("\udcff\ud800 ü 😀", "\\udcff\\ud800 ü 😀"),
        ("x" * 10_000, "x" * TEXT_MAX),
    ],
)
def test_text_is_fit_for_a_terminal(ends: tuple[Channel, Channel], text: str, heard: str) -> None:
    ours, theirs = ends
    theirs.say(Event.MISTAKE, text=text)
    word = ours.hear()
    assert word is not None
    assert word.text == " ".join(heard.split())
    theirs._sock.send(json.dumps({"event": "mistake", "text": text}).encode())
    word = ours.hear()
    assert word is not None
    assert word.text.isprintable()
    assert len(word.text) <= 10 * TEXT_MAX


def test_end_of_a_long_traceback_is_kept(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    theirs.say(Event.ERROR, text="x", traceback="😀" * 100_000 + "\nthe last line")
    word = ours.hear()
    assert word is not None
    assert word.traceback is not None
    assert word.traceback.endswith("\nthe last line")
    assert len(word.traceback) > 10_000


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"L",
        b"\xff\xfe not json",
        b"[1,2]",
        b"7",
        b"null",
        b"{}",
        b'{"event":"nothing"}',
        b'{"event":[]}',
        b'{"event":{"event":"error"}}',
        b'{"event":"error"}',
        b'{"event":"error","text":5}',
        b'{"event":"error","text":null}',
        b'{"event":"error","text":"x","traceback":{"a":1}}',
        b'{"event":"error","text":"x","more":"fields"}',
        b'{"event":"attached","text":"x"}',
        b'{"event":"started","number":true}',
        b'{"event":"started","number":1.5}',
        b'{"event":"started","number":18446744073709551616}',
        b'{"event":"answer","number":' + b"9" * 20_000 + b"}",
        b'{"event":"answer","number":1e999}',
        b'{"event":"error","text":NaN}',
        b"[" * 60_000,
        b'{"event":' * 7_000,
        b"x" * 100_000,
    ],
    ids=lambda raw: raw[:24].decode(errors="replace"),
)
def test_nonsense_is_told_once_and_then_nothing_is_heard(
    ends: tuple[Channel, Channel], raw: bytes
) -> None:
    ours, theirs = ends
    theirs.say(Event.ATTACHED)
    theirs._sock.send(raw)
    theirs.say(Event.ATTACHED)
    assert ours.hear() == Word(Event.ATTACHED)
    with pytest.raises(NonsenseError) as caught:
        ours.hear()
    assert len(str(caught.value)) < 100
    assert str(caught.value).isprintable()
    assert ours.hear() is None
    with pytest.raises(OSError, match="Broken pipe"):  # and no wait
        theirs.say(Event.ATTACHED)


@pytest.mark.parametrize("data", [b"L", b"{}", b'{"event":"attached"}'])
@pytest.mark.parametrize("path", ["/", "/dev/zero", "/dev/null"])
def test_descriptors_of_a_worker_are_not_taken(
    ends: tuple[Channel, Channel], path: str, data: bytes
) -> None:
    ours, theirs = ends
    fd = os.open(path, os.O_RDONLY)
    socket.send_fds(theirs._sock, [data], [fd] * 100)
    os.close(fd)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(NonsenseError, match="with descriptors"):
        ours.hear()
    assert os.listdir("/proc/self/fd") == before


def test_flood_has_an_end(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    for _ in range(1000):
        theirs.say(Event.MISTAKE, text="x")
        assert ours.hear() is not None
    theirs.say(Event.MISTAKE, text="x")
    with pytest.raises(NonsenseError, match="more than 1000 messages"):
        ours.hear()


def test_full_channel_does_not_hold_up_who_listens(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    theirs._sock.setblocking(False)
    count = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            theirs.say(Event.MISTAKE, text="x")
            count += 1
    heard = 0
    while ours.hear() is not None:
        heard += 1
    assert heard == count > 0
