//! rumqttc's two clients, for MQTT 3.1.1 and for MQTT 5, as one.

use std::time::Duration;

use bytes::Bytes;
use rumqttc::v5::mqttbytes::v5 as packet;
use rumqttc::{ClientError, Event, Outgoing, Packet, QoS, v5};

use super::options::Options;

/// Time that a connection may take from TCP to the broker's word. rumqttc's own 5 s make things worse when a whole fleet comes
/// back at once: boxes give up while they stand in line, and the broker still does their TLS handshakes.
const CONNECTED_WITHIN: Duration = Duration::from_secs(30);

/// Hands requests to the event loop; never waits.
pub(super) enum Client {
    V3(rumqttc::AsyncClient),
    V5(v5::AsyncClient),
}

/// Does the work of the connection when polled.
pub(super) enum EventLoop {
    V3(Box<rumqttc::EventLoop>),
    V5(Box<v5::EventLoop>),
}

/// What concerns a session.
#[derive(Debug)]
pub(super) enum Happened {
    /// The broker lets us in, and takes so many unacknowledged messages if it says so.
    Connected { receive_maximum: Option<u16> },
    /// A message of quality of service 1 went out.
    Sent { packet_id: u16 },
    /// The broker has it.
    Acknowledged { packet_id: u16 },
    /// The broker doesn't want it; MQTT 5 only.
    Refused { packet_id: u16, reason: packet::PubAckReason },
    /// A message came in.
    Received { topic: String, payload: Bytes, retained: bool },
    /// Our DISCONNECT went out.
    Disconnected,
    /// Nothing of interest.
    Other,
}

/// The request queue is full, or the event loop is gone.
#[derive(Debug, thiserror::Error)]
#[error("rumqttc's queue is full")]
pub(super) struct QueueFull;

/// A client and the event loop that it needs.
pub(super) fn open(options: Options, queue: usize) -> (Client, EventLoop) {
    match options {
        Options::V3(options) => {
            let (client, mut events) = rumqttc::AsyncClient::new(*options, queue);
            events.network_options.set_connection_timeout(CONNECTED_WITHIN.as_secs());
            (Client::V3(client), EventLoop::V3(Box::new(events)))
        }
        Options::V5(mut options) => {
            options.set_connection_timeout(CONNECTED_WITHIN.as_secs());
            let (client, events) = v5::AsyncClient::new(*options, queue);
            (Client::V5(client), EventLoop::V5(Box::new(events)))
        }
    }
}

impl Client {
    pub(super) fn publish(
        &self,
        topic: String,
        qos: QoS,
        retain: bool,
        payload: Vec<u8>,
    ) -> Result<(), QueueFull> {
        match self {
            Client::V3(client) => Ok(client.try_publish(topic, qos, retain, payload)?),
            Client::V5(client) => {
                let properties = packet::PublishProperties {
                    payload_format_indicator: Some(UTF_8),
                    content_type: payload.starts_with(b"{").then(|| JSON.to_owned()),
                    ..Default::default()
                };
                let qos = qos_of_v5(qos);
                Ok(client.try_publish_with_properties(topic, qos, retain, payload, properties)?)
            }
        }
    }

    pub(super) fn subscribe(&self, filter: String) -> Result<(), QueueFull> {
        match self {
            Client::V3(client) => Ok(client.try_subscribe(filter, QoS::AtLeastOnce)?),
            Client::V5(client) => {
                Ok(client.try_subscribe(filter, v5::mqttbytes::QoS::AtLeastOnce)?)
            }
        }
    }

    pub(super) fn disconnect(&self) -> Result<(), QueueFull> {
        match self {
            Client::V3(client) => Ok(client.try_disconnect()?),
            Client::V5(client) => Ok(client.try_disconnect()?),
        }
    }
}

/// MQTT 5, 3.3.2.3.2: the payload is UTF-8.
const UTF_8: u8 = 1;
const JSON: &str = "application/json";

fn qos_of_v5(qos: QoS) -> v5::mqttbytes::QoS {
    match qos {
        QoS::AtMostOnce => v5::mqttbytes::QoS::AtMostOnce,
        QoS::AtLeastOnce => v5::mqttbytes::QoS::AtLeastOnce,
        QoS::ExactlyOnce => v5::mqttbytes::QoS::ExactlyOnce,
    }
}

impl EventLoop {
    /// Goes on until something happens; an error is the connection's end. Not cancel-safe, as rumqttc's isn't.
    pub(super) async fn poll(&mut self) -> Result<Happened, String> {
        match self {
            EventLoop::V3(events) => events.poll().await.map(of_v3).map_err(|e| e.to_string()),
            EventLoop::V5(events) => events.poll().await.map(of_v5).map_err(|e| e.to_string()),
        }
    }
}

fn of_v3(event: Event) -> Happened {
    match event {
        Event::Incoming(Packet::ConnAck(_)) => Happened::Connected { receive_maximum: None },
        Event::Incoming(Packet::PubAck(ack)) => Happened::Acknowledged { packet_id: ack.pkid },
        Event::Incoming(Packet::Publish(message)) => Happened::Received {
            topic: message.topic,
            payload: message.payload,
            retained: message.retain,
        },
        Event::Outgoing(outgoing) => of_outgoing(&outgoing),
        Event::Incoming(_) => Happened::Other,
    }
}

fn of_v5(event: v5::Event) -> Happened {
    use packet::{Packet, PubAckReason};
    match event {
        v5::Event::Incoming(Packet::ConnAck(ack)) => {
            Happened::Connected { receive_maximum: ack.properties.and_then(|p| p.receive_max) }
        }
        v5::Event::Incoming(Packet::PubAck(ack)) => match ack.reason {
            PubAckReason::Success | PubAckReason::NoMatchingSubscribers => {
                Happened::Acknowledged { packet_id: ack.pkid }
            }
            reason => Happened::Refused { packet_id: ack.pkid, reason },
        },
        v5::Event::Incoming(Packet::Publish(message)) => Happened::Received {
            topic: String::from_utf8_lossy(&message.topic).into_owned(),
            payload: message.payload,
            retained: message.retain,
        },
        v5::Event::Outgoing(outgoing) => of_outgoing(&outgoing),
        v5::Event::Incoming(_) => Happened::Other,
    }
}

fn of_outgoing(outgoing: &Outgoing) -> Happened {
    match outgoing {
        Outgoing::Publish(packet_id) if *packet_id != 0 => Happened::Sent { packet_id: *packet_id },
        Outgoing::Disconnect => Happened::Disconnected,
        _ => Happened::Other,
    }
}

impl From<ClientError> for QueueFull {
    fn from(_: ClientError) -> QueueFull {
        QueueFull
    }
}

impl From<v5::ClientError> for QueueFull {
    fn from(_: v5::ClientError) -> QueueFull {
        QueueFull
    }
}
