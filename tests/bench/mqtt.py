"""A plain MQTT 5 connection for benches: packets out, packets in, nothing hidden."""

import socket
from types import TracebackType
from typing import Self

import mqtt5


class Wire:
    """One connection to a broker on this machine."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 60)
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.send(mqtt5.DisconnectPacket().write())
        self._socket.close()

    def connect(
        self,
        client_id: str,
        *,
        username: str | None = None,
        password: bytes | None = None,
        session_expiry: int = 0,
    ) -> None:
        self.send(
            mqtt5.ConnectPacket(
                client_id,
                username=username,
                password=password,
                clean_start=True,
                session_expiry_interval=session_expiry,
            ).write()
        )
        answer = self.receive()
        assert isinstance(answer, mqtt5.ConnAckPacket)
        assert int(answer.reason_code) == 0, answer

    def subscribe(self, topic_filter: str) -> None:
        self.send(
            mqtt5.SubscribePacket(
                1, [mqtt5.TopicFilter(topic_filter, max_qos=mqtt5.QoS.AT_LEAST_ONCE)]
            ).write()
        )
        assert isinstance(self.receive(), mqtt5.SubAckPacket)

    def ping(self) -> None:
        """Return when the broker has read everything sent before."""
        self.send(mqtt5.PingReqPacket().write())
        while not isinstance(self.receive(), mqtt5.PingRespPacket):
            pass

    def send(self, *packets: bytes) -> None:
        self._socket.sendall(b"".join(packets))

    def receive(self) -> mqtt5.Packet:
        while True:
            try:
                packet, size = mqtt5.read(memoryview(self._rest))
            except IndexError:
                data = self._socket.recv(65536)
                assert data, "the broker closed the connection"
                self._rest += data
            else:
                self._rest = self._rest[size:]
                return packet
