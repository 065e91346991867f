"""The control channel: whole messages, descriptors beside them, and the end of the peer."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator

import pytest

from emu.channel import Channel


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
