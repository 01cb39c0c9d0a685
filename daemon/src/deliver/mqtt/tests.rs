//! Delivery to the embedded broker, and to a broker that is played by hand to be as bad as real ones.

use std::{net::SocketAddr, path::Path, time::SystemTime};

use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};

use super::*;
use crate::audit::Auditor;
use crate::{
    broker,
    deliver::{
        HealthReason, Message,
        payload::{Envelope, EventBody, EventId, Status},
        topics::schema,
    },
};

const PATIENCE: Duration = Duration::from_secs(10);

/// A delivery task and what feeds it.
struct Running {
    outbox: Arc<Outbox>,
    identity: Identity,
    topics: Topics,
    health: watch::Sender<Health>,
    _metrics: watch::Sender<Metrics>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    fn start(dir: &Path, broker: SocketAddr) -> Running {
        let config = Config {
            host: broker.ip().to_string(),
            port: broker.port(),
            inflight: 4,
            ..Config::default()
        };
        let outbox = Arc::new(Outbox::open(dir, (&config).into()).unwrap());
        let (health, health_feed) = watch::channel(Health::default());
        let (metrics, metrics_feed) = watch::channel(Metrics::default());
        let info = Info { version: "1.2.3".to_owned(), ..Info::default() };
        let feeds = Feeds {
            info: watch::Sender::new(info).subscribe(),
            bundles: watch::Sender::new(Vec::new()).subscribe(),
            health: health_feed,
            metrics: metrics_feed,
        };
        let identity = Identity::new(&config.device, config.time_precision);
        let topics = config.topics().unwrap();
        let ledger = dir.join("commands.json");
        let (desk, _) = Desk::open(
            &ledger,
            &[],
            identity.clone(),
            topics,
            Arc::clone(&outbox),
            Auditor::default(),
        );
        let (out, desk) = (Arc::clone(&outbox), Arc::new(desk));
        let delivery = Delivery::new(&config, identity.clone(), out, desk, feeds).unwrap();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(delivery.run(shutdown.clone()));
        let topics = config.topics().unwrap();
        Running { outbox, identity, topics, health, _metrics: metrics, shutdown, task }
    }

    fn enqueue(&self, instances: usize) {
        let body = EventBody::StudyReceived { instances };
        let topic = self.topics.event(body.event_type());
        let event_id = EventId::derive(&[&instances.to_string()]);
        let now = SystemTime::now();
        let envelope = Envelope::new(&self.identity, schema::EVENT, event_id, now, body);
        self.outbox.enqueue(&Message::new(topic, false, &envelope).unwrap()).unwrap();
    }

    async fn stop(self) {
        self.shutdown.cancel();
        timeout(PATIENCE, self.task).await.expect("ends in time").unwrap();
    }
}

/// A subscriber to everything: topic, payload, retained.
async fn subscribe(broker: SocketAddr) -> tokio::sync::mpsc::Receiver<(String, Vec<u8>, bool)> {
    let id = format!("subscriber-{}", rand::random::<u32>());
    let options = MqttOptions::new(id, broker.ip().to_string(), broker.port());
    let (client, mut event_loop) = AsyncClient::new(options, 10);
    client.try_subscribe("modic/v1/site/modicd/#", QoS::AtLeastOnce).unwrap();
    let (tx, rx) = tokio::sync::mpsc::channel(100);
    let (subscribed, is_subscribed) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let _client = client;
        let mut subscribed = Some(subscribed);
        while let Ok(event) = event_loop.poll().await {
            match event {
                Event::Incoming(Packet::SubAck(_)) => {
                    let _ = subscribed.take().map(|s| s.send(()));
                }
                Event::Incoming(Packet::Publish(p)) => {
                    tx.send((p.topic, p.payload.to_vec(), p.retain)).await.unwrap();
                }
                _ => {}
            }
        }
    });
    timeout(PATIENCE, is_subscribed).await.unwrap().unwrap();
    rx
}

type Messages = tokio::sync::mpsc::Receiver<(String, Vec<u8>, bool)>;

async fn next(messages: &mut Messages) -> (String, Vec<u8>, bool) {
    timeout(PATIENCE, messages.recv()).await.expect("a message in time").unwrap()
}

fn json(payload: &[u8]) -> Value {
    serde_json::from_slice(payload).unwrap()
}

#[tokio::test]
async fn state_is_told_first_then_events_in_order_and_stopped_at_the_end() {
    let broker = broker::start().unwrap();
    let mut messages = subscribe(broker).await;
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path(), broker);
    for n in 1..=20 {
        running.enqueue(n);
    }
    assert_eq!(next(&mut messages).await.1, b"online");
    let (topic, info, _) = next(&mut messages).await;
    assert_eq!(topic, running.topics.info());
    assert_eq!(json(&info)["version"], "1.2.3");
    let (topic, health, _) = next(&mut messages).await;
    assert_eq!(topic, running.topics.health());
    assert_eq!(json(&health)["status"], "ok");
    for alarm in HealthReason::ALL {
        let (topic, payload, _) = next(&mut messages).await;
        assert_eq!(topic, running.topics.alarm(*alarm));
        assert_eq!(json(&payload)["state"], "cleared");
    }
    for n in 1..=20 {
        let (topic, payload, _) = next(&mut messages).await;
        assert_eq!(topic, "modic/v1/site/modicd/event/study.received");
        let payload = json(&payload);
        assert_eq!((&payload["instances"], &payload["seq"]), (&n.into(), &n.into()));
        assert_eq!(payload["replayed"], false);
    }
    let raised = SystemTime::UNIX_EPOCH;
    running.health.send_modify(|h| {
        h.status = Status::Degraded;
        h.reasons.update(&[HealthReason::AnalysisError], raised);
    });
    let health = json(&next(&mut messages).await.1);
    assert_eq!(
        (&health["status"], &health["reasons"][0]),
        (&"degraded".into(), &"analysis_error".into())
    );
    let (topic, payload, _) = next(&mut messages).await;
    assert_eq!(topic, running.topics.alarm(HealthReason::AnalysisError));
    let alarm = json(&payload);
    assert_eq!(
        (&alarm["state"], &alarm["since"]),
        (&"raised".into(), &"1970-01-01T00:00:00.000Z".into())
    );
    running.health.send_modify(|h| h.reasons.update(&[], raised));
    next(&mut messages).await; // health
    assert_eq!(json(&next(&mut messages).await.1)["state"], "cleared");

    let (outbox, topics) = (Arc::clone(&running.outbox), running.topics.clone());
    running.stop().await;
    assert!(outbox.is_empty());
    let (topic, payload, _) = next(&mut messages).await;
    assert_eq!((topic, &payload[..]), (topics.availability(), &b"stopped"[..]));

    let mut late = subscribe(broker).await;
    let mut retained = Vec::new();
    for _ in 0..3 + HealthReason::ALL.len() {
        let (topic, payload, is_retained) = next(&mut late).await;
        assert!(is_retained, "{topic}");
        retained.push((topic, payload));
    }
    assert!(retained.contains(&(topics.availability(), b"stopped".to_vec())), "no will after it");
}

/// Reads one MQTT packet: its type and its body.
async fn read_packet(stream: &mut TcpStream) -> std::io::Result<(u8, Vec<u8>)> {
    let kind = stream.read_u8().await? >> 4;
    let (mut length, mut shift) = (0usize, 0);
    loop {
        let byte = stream.read_u8().await?;
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok((kind, body))
}

const CONNECT: u8 = 1;
const PUBLISH: u8 = 3;

/// Lets a client in.
async fn accept(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    assert_eq!(read_packet(&mut stream).await.unwrap().0, CONNECT);
    stream.write_all(&[0x20, 2, 0, 0]).await.unwrap();
    stream
}

/// Reads the next PUBLISH of quality of service 1: topic, packet identifier, payload.
async fn read_publish(stream: &mut TcpStream) -> (String, [u8; 2], Vec<u8>) {
    loop {
        let (kind, body) = timeout(PATIENCE, read_packet(stream)).await.unwrap().unwrap();
        if kind == PUBLISH {
            let end = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
            let topic = String::from_utf8(body[2..end].to_vec()).unwrap();
            return (topic, [body[end], body[end + 1]], body[end + 2..].to_vec());
        }
    }
}

async fn acknowledge(stream: &mut TcpStream, id: [u8; 2]) {
    stream.write_all(&[0x40, 2, id[0], id[1]]).await.unwrap();
}

#[tokio::test]
async fn what_a_broker_took_without_acknowledging_is_sent_again_in_order_and_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path(), listener.local_addr().unwrap());
    (1..=5).for_each(|n| running.enqueue(n));

    // The broker takes four and acknowledges none but the state and the first event, then dies.
    let mut stream = accept(&listener).await;
    let mut acknowledged = 0;
    while acknowledged < 1 {
        let (topic, id, payload) = read_publish(&mut stream).await;
        acknowledge(&mut stream, id).await;
        if topic.contains("/event/") {
            assert_eq!(json(&payload)["replayed"], false);
            acknowledged += 1;
        }
    }
    let (_, _, second) = read_publish(&mut stream).await;
    assert_eq!(json(&second)["instances"], 2);
    while running.outbox.len() > 4 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(stream);

    let mut stream = accept(&listener).await;
    let mut events = Vec::new();
    while events.len() < 4 {
        let (topic, id, payload) = read_publish(&mut stream).await;
        acknowledge(&mut stream, id).await;
        if topic.contains("/event/") {
            let payload = json(&payload);
            events.push((payload["instances"].as_u64().unwrap(), payload["replayed"] == true));
        }
    }
    let instances: Vec<u64> = events.iter().map(|e| e.0).collect();
    assert_eq!(instances, [2, 3, 4, 5]);
    assert!(events[0].1, "the second was sent before");
    while !running.outbox.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    running.shutdown.cancel();
    // `stopped` comes, and DISCONNECT after its acknowledgement.
    let (_, id, payload) = read_publish(&mut stream).await;
    assert_eq!(payload, b"stopped");
    acknowledge(&mut stream, id).await;
    const DISCONNECT: u8 = 14;
    assert_eq!(read_packet(&mut stream).await.unwrap().0, DISCONNECT);
    timeout(PATIENCE, running.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_broker_that_a_whole_fleet_comes_back_to_is_waited_for() {
    const RUMQTTC_GIVES_UP_AFTER: Duration = Duration::from_secs(5);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path(), listener.local_addr().unwrap());
    let (mut stream, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    assert_eq!(read_packet(&mut stream).await.unwrap().0, CONNECT);
    tokio::time::sleep(RUMQTTC_GIVES_UP_AFTER + Duration::from_secs(1)).await;
    stream.write_all(&[0x20, 2, 0, 0]).await.unwrap();
    let (_, _, payload) = read_publish(&mut stream).await;
    assert_eq!(payload, b"online");
    drop(stream);
    running.stop().await;
}

#[tokio::test]
async fn messages_of_an_earlier_run_are_marked_as_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let nobody: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let earlier = Running::start(dir.path(), nobody);
    earlier.enqueue(1);
    earlier.stop().await;

    let broker = broker::start().unwrap();
    let mut messages = subscribe(broker).await;
    let running = Running::start(dir.path(), broker);
    running.enqueue(2);
    let mut replayed = Vec::new();
    while replayed.len() < 2 {
        let (topic, payload, _) = next(&mut messages).await;
        if topic.contains("/event/") {
            replayed.push(json(&payload)["replayed"] == true);
        }
    }
    assert_eq!(replayed, [true, false]);
    running.stop().await;
}

#[tokio::test]
async fn acknowledgements_out_of_order_each_count_for_their_own_message() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path(), listener.local_addr().unwrap());
    (1..=40).for_each(|n| running.enqueue(n));
    let mut stream = accept(&listener).await;
    let mut events = Vec::new();
    let mut held: Option<[u8; 2]> = None;
    while events.len() < 40 {
        let (topic, id, payload) = read_publish(&mut stream).await;
        // Every acknowledgement changes places with the one before it.
        match held.take() {
            None if events.len() < 36 => held = Some(id),
            None => acknowledge(&mut stream, id).await,
            Some(before) => {
                acknowledge(&mut stream, id).await;
                acknowledge(&mut stream, before).await;
            }
        }
        if topic.contains("/event/") {
            events.push(json(&payload)["instances"].as_u64().unwrap());
        }
    }
    assert_eq!(events, (1..=40).collect::<Vec<_>>());
    let emptied = async {
        while !running.outbox.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, emptied).await.expect("every message is acknowledged");
}
